#!/bin/sh
# Generated dependencies, but nothing says that tokens.h must be there before the first compilation.
cat > /app/Makefile <<'MAKEFILE'
CC = gcc
CFLAGS = -O1 -Wall
OBJECTS = main.o lex.o eval.o
all: tokens.h calc
calc: main.o libexpr.a
	$(CC) -o $@ main.o libexpr.a -lm
libexpr.a: lex.o eval.o
	ar rcs $@ $^
tokens.h: tokens.txt
	./mktokens.sh tokens.txt > $@
%.o: %.c
	$(CC) $(CFLAGS) -MMD -c -o $@ $<
-include $(OBJECTS:.o=.d)
clean:
	rm -f *.o *.d calc libexpr.a tokens.h
.PHONY: all clean
.DELETE_ON_ERROR:
MAKEFILE
