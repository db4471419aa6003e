#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "expr.h"
#include "limits.h"
#include "tokens.h"

static double sum(struct lexer *lexer, int depth);

static void fail(const char *what) {
    fprintf(stderr, "%s\n", what);
    exit(2);
}

static double atom(struct lexer *lexer, int depth) {
    if (depth > MAX_DEPTH) fail("too deep");
    double value = lexer->value;
    int token = lexer->token;
    next(lexer);
    if (token == NUMBER) return value;
    if (token == TOKEN_MINUS) return -atom(lexer, depth + 1);
    if (token != TOKEN_OPEN) fail("number expected");
    value = sum(lexer, depth + 1);
    if (lexer->token != TOKEN_CLOSE) fail("not closed");
    next(lexer);
    return value;
}

static double power(struct lexer *lexer, int depth) {
    double base = atom(lexer, depth);
    if (lexer->token != TOKEN_POWER) return base;
    next(lexer);
    return pow(base, power(lexer, depth + 1));
}

static double product(struct lexer *lexer, int depth) {
    double value = power(lexer, depth);
    while (lexer->token == TOKEN_TIMES || lexer->token == TOKEN_DIVIDE) {
        int token = lexer->token;
        next(lexer);
        double right = power(lexer, depth);
        value = token == TOKEN_TIMES ? value * right : value / right;
    }
    return value;
}

static double sum(struct lexer *lexer, int depth) {
    double value = product(lexer, depth);
    while (lexer->token == TOKEN_PLUS || lexer->token == TOKEN_MINUS) {
        int token = lexer->token;
        next(lexer);
        double right = product(lexer, depth);
        value = token == TOKEN_PLUS ? value + right : value - right;
    }
    return value;
}

double eval(const char *text) {
    struct lexer lexer = {text, 0, 0};
    next(&lexer);
    double value = sum(&lexer, 0);
    if (lexer.token != END) fail("end expected");
    return value;
}
