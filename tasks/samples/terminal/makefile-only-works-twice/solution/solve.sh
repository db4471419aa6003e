#!/bin/sh
cat > /app/Makefile <<'MAKEFILE'
CC = gcc
CFLAGS = -O1 -Wall
LIBS = -lm
OBJECTS = main.o lex.o eval.o

all: calc

calc: main.o libexpr.a
	$(CC) -o $@ main.o libexpr.a $(LIBS)

libexpr.a: lex.o eval.o
	rm -f $@
	ar rc $@ $^

tokens.h: tokens.txt mktokens.sh
	./mktokens.sh tokens.txt > $@

# Before the first compilation nobody knows who includes tokens.h; afterwards the .d files say so.
$(OBJECTS): | tokens.h

%.o: %.c
	$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

-include $(OBJECTS:.o=.d)

clean:
	rm -f calc libexpr.a tokens.h $(OBJECTS) $(OBJECTS:.o=.d)

.PHONY: all clean
.DELETE_ON_ERROR:
MAKEFILE
