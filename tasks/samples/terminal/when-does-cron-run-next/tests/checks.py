import calendar
import random
import sys
from datetime import date, datetime, timedelta

sys.path.insert(0, "/tests")
from harness import check, main, run  # noqa: E402


def nextrun(*args, timeout=6):
    code, out, err = run(["/app/nextrun", *args], timeout=timeout)
    return code, out.decode().split("\n")[:-1], err.decode()


def values(field, low, high):
    """The values of a field that this file made, numbers only."""
    found = set()
    for item in field.split(","):
        span, _, step = item.partition("/")
        first, _, last = (f"{low}-{high}" if span == "*" else span).partition("-")
        found |= set(range(int(first), int(last or first) + 1, int(step or 1)))
    return found


def expected(expression, start, count):
    """By going through the years day by day; another way than counting minutes."""
    fields = expression.split()
    minute, hour, dom, month, dow = (
        values(field, *span) for field, span in zip(fields, [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)], strict=True)
    )
    free = [fields[2][0] == "*", fields[4][0] == "*"]
    found = []
    for year in range(start.year, start.year + 12):
        for number in sorted(month):
            for day in range(1, calendar.monthrange(year, number)[1] + 1):
                week = date(year, number, day).isoweekday()
                fits = [day in dom, week in dow or week % 7 in dow]
                if not (all(fits) if any(free) else any(fits)):
                    continue
                for when in sorted((h, m) for h in hour for m in minute):
                    time = datetime(year, number, day, *when)
                    if time > start:
                        found.append(time.strftime("%Y-%m-%d %H:%M"))
                        if len(found) == count:
                            return found
    return found


def agree(expression, start, count=5, spoken=None):
    code, out, err = nextrun(spoken or expression, start.strftime("%Y-%m-%d %H:%M"), str(count))
    want = expected(expression, start, count)
    assert (code, out) == (0, want), f"{spoken or expression!r} from {start}: {code} {out} {err}, not {want}"


def some_time():
    return datetime(2020, 1, 1) + timedelta(minutes=random.randrange(60 * 24 * 365 * 12))


def some_field(low, high):
    kind = random.randrange(6)
    a, b = sorted(random.sample(range(low, high + 1), 2))
    step = random.randrange(1, 8)
    return ["*", "*", str(a), f"{a}-{b}", f"{a}-{b}/{step}", f"{a},{b}"][kind]


@check
def follows_the_example():
    code, out, _ = nextrun("*/30 9-10 * * mon-fri", "2024-03-01 10:15", "3")
    assert (code, out) == (0, ["2024-03-01 10:30", "2024-03-04 09:00", "2024-03-04 09:30"])
    code, out, _ = nextrun("*/30 9-10 * * mon-fri", "2024-03-01 10:30")
    assert (code, out) == (0, ["2024-03-04 09:00"])


@check
def either_day_counts():
    for _ in range(3):
        dom, dow = random.randrange(1, 29), random.randrange(0, 7)
        agree(f"0 3 {dom} * {dow}", some_time(), 8)
    agree("15 4 13,26 2-11 5", some_time(), 8)


@check
def a_star_does_not_restrict_even_with_a_step():
    agree("0 0 */2 * 1", some_time(), 8)
    agree("0 0 */5 * 2,4", some_time(), 8)
    agree("0 12 1-7 * */2", some_time(), 8)


@check
def sunday_has_two_numbers():
    agree("30 6 * * 7", some_time(), 3)
    agree("30 6 * * 0", some_time(), 3)
    agree("30 6 * * 5-7", some_time(), 6)
    agree("0 1 1 * 7", some_time(), 6)


@check
def names_and_short_forms_work():
    agree("5 4 * 1,9-11 0", some_time(), 6, "5 4 * Jan,sep-NOV sun")
    agree("0 8 * 2 1-5/2", some_time(), 6, "0\t8  * FEB   Mon-Fri/2")
    for short, form in {
        "@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0",
        "@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
    }.items():  # fmt: skip
        agree(form, some_time(), 2, short)


@check
def any_expression_works():
    for _ in range(9):
        fields = [some_field(0, 59), some_field(0, 23), some_field(1, 28), some_field(1, 12), some_field(0, 7)]
        agree(" ".join(fields), some_time())


@check
def knows_the_calendar():
    agree("0 0 29 2 *", datetime(2096, 2, 29, 0, 0), 1)
    agree("59 23 31 * *", datetime(2023, 1, 31, 23, 58), 7)
    agree("0 0 1 1 *", datetime(2023, 12, 31, 23, 59), 3)
    agree("0 0 30 * *", datetime(2024, 1, 30, 0, 0), 2)


@check
def says_when_it_never_runs():
    for expression in ("0 0 30 2 *", "0 0 31 4,6,9,11 *"):
        code, out, _ = nextrun(expression, "2024-01-01 00:00")
        assert (code, out) == (66, []), expression


@check
def refuses_what_cron_refuses():
    for expression in (
        "60 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *", "* * * 13 *", "* * * 0 *", "* * * * 8", "* * * *",
        "* * * * * *", "", "5-1 * * * *", "*/0 * * * *", "5/10 * * * *", "1,,2 * * * *", "a * * * *", "-1 * * * *",
        "* * * * funday", "@sometimes", "1.5 * * * *", "1- * * * *", "*/ * * * *", "** * * * *", "* * mon * *",
    ):  # fmt: skip
        code, out, err = nextrun(expression, "2024-01-01 00:00")
        assert (code, out) == (65, []), (expression, code, out)
        assert err, expression


main()
