#include <stdio.h>
#include "expr.h"

int main(int argc, char **argv) {
    if (argc != 2) return fprintf(stderr, "usage: calc EXPRESSION\n"), 1;
    printf("%.10g\n", eval(argv[1]));
    return 0;
}
