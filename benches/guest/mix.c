/* A processor benchmark with the ingredients of embedded ones: linked lists, integer matrices, a state
 * machine over text, and cyclic redundancy checks over the results. Fixed work per iteration; the checksum
 * proves that it was done.
 *
 *   mix [ITERATIONS]      default 2000; prints "mix ITERATIONS SECONDS ITERATIONS/S CHECKSUM" */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint16_t crc16(uint16_t crc, uint32_t value, int bits) {
    for (int i = 0; i < bits; i++) {
        int carry = (crc ^ value) & 1;
        crc >>= 1;
        value >>= 1;
        if (carry)
            crc ^= 0xa001;
    }
    return crc;
}

static uint32_t random_state;

static uint32_t next_random(void) {
    random_state = random_state * 1664525u + 1013904223u;
    return random_state >> 8;
}

/* ---- lists: search by value, reverse, merge sort by either of two keys ---- */

struct node {
    struct node *next;
    int16_t key;
    int16_t rank;
};

#define NODES 120
static struct node nodes[NODES];

static struct node *build_list(void) {
    for (int i = 0; i < NODES; i++) {
        nodes[i].next = i + 1 < NODES ? &nodes[i + 1] : NULL;
        nodes[i].key = (int16_t)(next_random() & 0x3ff);
        nodes[i].rank = (int16_t)i;
    }
    return nodes;
}

static struct node *find(struct node *list, int16_t key) {
    while (list && list->key != key)
        list = list->next;
    return list;
}

static struct node *reverse(struct node *list) {
    struct node *done = NULL;
    while (list) {
        struct node *next = list->next;
        list->next = done;
        done = list;
        list = next;
    }
    return done;
}

typedef int (*compare_fn)(const struct node *, const struct node *);

static int by_key(const struct node *a, const struct node *b) {
    uint16_t ka = crc16(0, (uint16_t)a->key, 8), kb = crc16(0, (uint16_t)b->key, 8);
    return ka == kb ? a->key - b->key : ka - kb;
}

static int by_rank(const struct node *a, const struct node *b) { return a->rank - b->rank; }

static struct node *merge_sort(struct node *list, compare_fn compare) {
    if (!list || !list->next)
        return list;
    struct node *slow = list, *fast = list->next;
    while (fast && fast->next) {
        slow = slow->next;
        fast = fast->next->next;
    }
    struct node *other = slow->next;
    slow->next = NULL;
    list = merge_sort(list, compare);
    other = merge_sort(other, compare);
    struct node head, *tail = &head;
    while (list && other) {
        struct node **least = compare(list, other) <= 0 ? &list : &other;
        tail->next = *least;
        tail = *least;
        *least = (*least)->next;
    }
    tail->next = list ? list : other;
    return head.next;
}

static uint16_t list_work(uint16_t crc) {
    struct node *list = build_list();
    int found = 0, missed = 0;
    for (int i = 0; i < 30; i++) {
        struct node *hit = find(list, (int16_t)(next_random() & 0x3ff));
        if (hit)
            found += hit->rank;
        else
            missed++;
        list = reverse(list);
    }
    list = merge_sort(list, by_key);
    crc = crc16(crc, (uint32_t)list->key, 16);
    list = merge_sort(list, by_rank);
    crc = crc16(crc, (uint32_t)(found * 31 + missed), 16);
    return crc16(crc, (uint32_t)list->rank, 16);
}

/* ---- matrices ---- */

#define N 12
static int16_t ma[N][N], mb[N][N];
static int32_t mc[N][N];

static uint16_t matrix_work(uint16_t crc) {
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            ma[i][j] = (int16_t)(next_random() & 0xff);
            mb[i][j] = (int16_t)(next_random() & 0xff);
        }
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++) {
                int32_t sum = 0;
                for (int k = 0; k < N; k++) {
                    int32_t product = (int32_t)ma[i][k] * mb[k][j];
                    sum += round == 1 ? ((product >> 2) & 15) * ((product >> 5) & 127) : product;
                }
                mc[i][j] = sum;
            }
        int32_t last = 0, total = 0;
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++) {
                total += mc[i][j] > last ? 10 : 1;
                last = mc[i][j];
                ma[i][j] = (int16_t)(ma[i][j] + (round == 2 ? 3 : -1));
            }
        crc = crc16(crc, (uint32_t)total, 16);
    }
    return crc;
}

/* ---- a state machine that classifies numbers ---- */

enum state { START, INVALID, SIGN, INTEGER, POINT, FRACTION, EXPONENT, EXPONENT_SIGN, SCIENTIFIC, STATES };

static enum state scan(const char **text, int *steps) {
    enum state state = START;
    const char *p = *text;
    for (; *p && state != INVALID; p++) {
        char c = *p;
        int digit = c >= '0' && c <= '9';
        (*steps)++;
        if (c == ',') {
            p++;
            break;
        }
        switch (state) {
        case START:
            state = digit ? INTEGER : c == '+' || c == '-' ? SIGN : c == '.' ? POINT : INVALID;
            break;
        case SIGN:
            state = digit ? INTEGER : c == '.' ? POINT : INVALID;
            break;
        case INTEGER:
            state = digit ? INTEGER : c == '.' ? POINT : c == 'e' ? EXPONENT : INVALID;
            break;
        case POINT:
        case FRACTION:
            state = digit ? FRACTION : c == 'e' ? EXPONENT : INVALID;
            break;
        case EXPONENT:
            state = digit ? SCIENTIFIC : c == '+' || c == '-' ? EXPONENT_SIGN : INVALID;
            break;
        case EXPONENT_SIGN:
        case SCIENTIFIC:
            state = digit ? SCIENTIFIC : INVALID;
            break;
        default:
            break;
        }
    }
    *text = p;
    return state;
}

static uint16_t text_work(uint16_t crc) {
    static const char *const words[] = {"5012", "-874", "+122", "35.54400", ".1234500", "-110.700", "+0.64400",
                                        "5.500e+3", "-.123e-2", "-87e+832", "+0.6e-12", "T0.3e-1F", "-T.T++Tq", "1T3.4e4z"};
    char text[640];
    size_t length = 0;
    while (length < 600) {
        const char *word = words[next_random() % (sizeof words / sizeof *words)];
        size_t n = strlen(word);
        memcpy(text + length, word, n);
        length += n;
        text[length++] = ',';
    }
    text[length] = 0;
    for (int pass = 0; pass < 2; pass++) {
        int counts[STATES] = {0}, steps = 0;
        for (const char *p = text; *p;)
            counts[scan(&p, &steps)]++;
        for (int i = 0; i < STATES; i++)
            crc = crc16(crc, (uint32_t)(counts[i] * 7 + steps), 16);
        for (size_t i = 0; i < length; i += 11)
            if (text[i] != ',')
                text[i] ^= 1;
    }
    return crc;
}

int main(int argc, char **argv) {
    long iterations = argc > 1 ? atol(argv[1]) : 2000;
    struct timespec from, to;
    uint16_t crc = 0;
    random_state = 1;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (long i = 0; i < iterations; i++) {
        crc = list_work(crc);
        crc = matrix_work(crc);
        crc = text_work(crc);
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    double seconds = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) * 1e-9;
    printf("mix %ld %.3f %.1f %04x\n", iterations, seconds, (double)iterations / seconds, crc);
    return 0;
}
