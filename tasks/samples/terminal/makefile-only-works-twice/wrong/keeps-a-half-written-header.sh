#!/bin/sh
# All is well until the generator fails: its half-written output is newer than its source and stays.
cat > /app/Makefile <<'MAKEFILE'
CC = gcc
CFLAGS = -O1 -Wall
OBJECTS = main.o lex.o eval.o
all: calc
calc: main.o libexpr.a
	$(CC) -o $@ main.o libexpr.a -lm
libexpr.a: lex.o eval.o
	ar rcs $@ $^
tokens.h: tokens.txt
	./mktokens.sh tokens.txt > $@
$(OBJECTS): | tokens.h
%.o: %.c
	$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<
-include $(OBJECTS:.o=.d)
clean:
	rm -f *.o *.d calc libexpr.a tokens.h
.PHONY: all clean
MAKEFILE
