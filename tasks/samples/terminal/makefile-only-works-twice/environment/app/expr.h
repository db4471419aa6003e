#ifndef EXPR_H
#define EXPR_H
enum { NUMBER = 256, END };
struct lexer { const char *at; int token; double value; };
void next(struct lexer *lexer);
double eval(const char *text);
#endif
