#define MAX_DEPTH 20
