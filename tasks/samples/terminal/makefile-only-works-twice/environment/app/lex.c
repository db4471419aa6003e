#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include "expr.h"
#include "tokens.h"

void next(struct lexer *lexer) {
    while (isspace((unsigned char)*lexer->at)) lexer->at++;
    if (isdigit((unsigned char)*lexer->at)) {
        char *end;
        lexer->value = strtod(lexer->at, &end);
        lexer->at = end;
        lexer->token = NUMBER;
        return;
    }
    switch (*lexer->at) {
    case 0: lexer->token = END; return;
    case TOKEN_PLUS: case TOKEN_MINUS: case TOKEN_TIMES: case TOKEN_DIVIDE: case TOKEN_POWER: case TOKEN_OPEN:
    case TOKEN_CLOSE: lexer->token = *lexer->at++; return;
    }
    fprintf(stderr, "bad character '%c'\n", *lexer->at);
    exit(2);
}
