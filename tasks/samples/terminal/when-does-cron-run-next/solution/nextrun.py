#!/usr/bin/env python3
"""nextrun EXPRESSION FROM [COUNT]: when cron runs an expression next, by the rules of Debian's cron, in UTC."""
import re
import sys
from datetime import datetime, timedelta

MONTHS = {name: number for number, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}
DAYS = {name: number for number, name in enumerate("sun mon tue wed thu fri sat".split())}
FIELDS = [(0, 59, {}), (0, 23, {}), (1, 31, {}), (1, 12, MONTHS), (0, 7, DAYS)]
SHORT = {
    "@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
}


class Bad(Exception):
    pass


def parse_field(text, low, high, names):
    def number(word):
        value = names.get(word.lower())
        if value is None:
            if not re.fullmatch("[0-9]+", word):
                raise Bad(f"{word!r} is not a number")
            value = int(word)
        if not low <= value <= high:
            raise Bad(f"{word!r} is not within {low}-{high}")
        return value

    values = set()
    for item in text.split(","):
        match = re.fullmatch(r"(\*|(\w+)-(\w+))/([0-9]+)|\*|(\w+)-(\w+)|(\w+)", item)
        if not match:
            raise Bad(f"{item!r} is not a value, a range or a step")
        step = int(match[4] or 1)
        if item.startswith("*"):
            first, last = low, high
        elif match[7]:
            first = last = number(match[7])
        else:
            first, last = number(match[2] or match[5]), number(match[3] or match[6])
        if first > last or step < 1:
            raise Bad(f"{item!r} holds nothing")
        values |= set(range(first, last + 1, step))
    return values


def runs(expression, start):
    words = SHORT.get(expression.strip().lower(), expression).split()
    if len(words) != 5:
        raise Bad(f"five fields, not {len(words)}")
    minutes, hours, days, months, weekdays = [parse_field(word, *field) for word, field in zip(words, FIELDS)]
    weekdays = {day % 7 for day in weekdays}
    either = not words[2].startswith("*") and not words[4].startswith("*")
    day = start.replace(hour=0, minute=0)
    for _ in range(366 * 9):
        in_month, in_week = day.day in days, (day.weekday() + 1) % 7 in weekdays
        if day.month in months and (in_month or in_week if either else in_month and in_week):
            for hour in sorted(hours):
                for minute in sorted(minutes):
                    if (time := day.replace(hour=hour, minute=minute)) > start:
                        yield time
        day += timedelta(days=1)


def main():
    try:
        expression, start, count = (sys.argv + ["1"])[1:4]
        start = datetime.strptime(start, "%Y-%m-%d %H:%M")
        times = runs(expression, start)
        found = []
        while len(found) < int(count):
            time = next(times, None)
            if time is None:
                if not found:
                    sys.exit(66)
                times = runs(expression, found[-1])
                continue
            found.append(time)
    except (Bad, ValueError) as error:
        print(f"nextrun: {error}", file=sys.stderr)
        sys.exit(65)
    for time in found:
        print(time.strftime("%Y-%m-%d %H:%M"))


main()
