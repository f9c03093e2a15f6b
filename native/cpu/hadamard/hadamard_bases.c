/* The base matrices, constructed. Their signs are written into static memory when an order is first asked for. */
#include "hadamard/hadamard_plan.h"

#include <stdatomic.h>
#include <stddef.h>

/* Bases have the orders 4 u, u = 3, 5 .. 63. */
enum { MAX_FACTOR = KRN_HADAMARD_MAX_ORDER / 4, NUM_ORDERS = MAX_FACTOR / 2, MAX_FIELD = KRN_HADAMARD_MAX_ORDER };

/* Four symmetric circulants of order u with A^2 + B^2 + C^2 + D^2 = 4 u I. Bit i - 1 of a mask is set where the entries
 * i and u - i of the first row are -1; entry 0 is +1. Found by searching all masks (for u = 43 those that
 * multiplication by 6 leaves as they are) for two pairs with opposite autocorrelations. */
static const struct {
    int32_t factor;
    uint32_t masks[4];
} WILLIAMSON[] = {
    {23, {0x153, 0x19C, 0x02B, 0x71B}},
    {29, {0x6BB, 0xB11, 0x2F3, 0x30A6}},
    {39, {0x26B7E, 0x6317D, 0x15E6E, 0x2FB92}},
    {43, {0x04789A, 0x082D63, 0x1210F5, 0x01BAF3}},
};
enum { NUM_WILLIAMSON = sizeof WILLIAMSON / sizeof WILLIAMSON[0] };

typedef enum { NONE, PALEY_1, PALEY_2, WILLIAMSON_4 } construction_kind;

/* How the matrix of an order is made. Elements of GF(p) are 0..p-1, those of GF(p^2) are a + p b, which stands for
 * a + b w with w^2 the smallest non-residue of GF(p). */
typedef struct {
    construction_kind kind;
    int32_t order;
    int32_t prime;
    /* Of the field: p or p^2. */
    int32_t elements;
    const uint32_t *masks;
    /* 0 for 0, 1 for squares, -1 for the other elements of the field. */
    int8_t character[MAX_FIELD];
} construction;

static int is_prime(int32_t q) {
    for (int32_t d = 2; d * d <= q; d++)
        if (q % d == 0)
            return 0;
    return q > 1;
}

/* The prime that q is, or is the square of; else 0. */
static int32_t prime_of_field(int32_t q) {
    if (is_prime(q))
        return q;
    for (int32_t p = 3; p * p <= q; p += 2)
        if (p * p == q && is_prime(p))
            return p;
    return 0;
}

static construction choose(int64_t order) {
    construction c = {.kind = NONE};
    if (order < 12 || order > KRN_HADAMARD_MAX_ORDER || order % 8 != 4)
        return c;
    c.order = (int32_t)order;
    if (is_prime(c.order - 1)) {
        c.kind = PALEY_1;
        c.prime = c.elements = c.order - 1;
        return c;
    }
    if ((c.prime = prime_of_field(c.order / 2 - 1)) != 0) {
        c.kind = PALEY_2;
        c.elements = c.order / 2 - 1;
        return c;
    }
    for (int w = 0; w < NUM_WILLIAMSON; w++) {
        if (WILLIAMSON[w].factor == c.order / 4) {
            c.kind = WILLIAMSON_4;
            c.masks = WILLIAMSON[w].masks;
        }
    }
    return c;
}

static void find_squares(construction *c) {
    const int32_t p = c->prime;
    for (int32_t x = 1; x < c->elements; x++)
        c->character[x] = -1;
    for (int32_t x = 1; x < p; x++)
        c->character[x * x % p] = 1;
    if (c->elements == p)
        return;
    int32_t non_residue = 2;
    while (c->character[non_residue] == 1)
        non_residue++;
    /* (a + b w)^2 = (a^2 + b^2 w^2) + 2 a b w */
    for (int32_t x = 1; x < c->elements; x++) {
        const int32_t a = x % p, b = x / p;
        c->character[(a * a + b * b * non_residue) % p + p * (2 * a * b % p)] = 1;
    }
}

/* The character of x - y. */
static int difference_character(const construction *c, int32_t x, int32_t y) {
    const int32_t p = c->prime;
    const int32_t low = (x % p - y % p + p) % p, high = (x / p - y / p + p) % p;
    return c->character[low + p * high];
}

/* Entry (i, j) of the bordered matrix of order elements + 1; `below` is the border under its first entry. */
static int bordered(const construction *c, int32_t i, int32_t j, int below) {
    if (i == 0 || j == 0)
        return i == j ? 0 : i == 0 ? 1 : below;
    return difference_character(c, j - 1, i - 1);
}

static int paley_1(const construction *c, int32_t i, int32_t j) { return i == j ? 1 : bordered(c, i, j, -1); }

static int paley_2(const construction *c, int32_t i, int32_t j) {
    static const int8_t off_diagonal[2][2] = {{1, 1}, {1, -1}}, diagonal[2][2] = {{1, -1}, {-1, -1}};
    if (i / 2 == j / 2)
        return diagonal[i % 2][j % 2];
    return bordered(c, i / 2, j / 2, 1) * off_diagonal[i % 2][j % 2];
}

/*    A  B  C  D
 *   -B  A -D  C
 *   -C  D  A -B
 *   -D -C  B  A   */
static int williamson(const construction *c, int32_t i, int32_t j) {
    static const int8_t signs[4][4] = {{1, 1, 1, 1}, {-1, 1, -1, 1}, {-1, 1, 1, -1}, {-1, -1, 1, 1}};
    const int32_t u = c->order / 4;
    /* Block (r, s) holds the circulant r xor s. */
    const uint32_t mask = c->masks[(i / u) ^ (j / u)];
    const int32_t distance = (j % u - i % u + u) % u;
    const int32_t entry = distance < u - distance ? distance : u - distance;
    return entry > 0 && (mask >> (entry - 1) & 1) != 0 ? -signs[i / u][j / u] : signs[i / u][j / u];
}

static int raw_entry(const construction *c, int32_t i, int32_t j) {
    switch (c->kind) {
    case PALEY_1: return paley_1(c, i, j);
    case PALEY_2: return paley_2(c, i, j);
    default: return williamson(c, i, j);
    }
}

/* With rows and columns negated so that the first ones are +1. */
static int entry(const construction *c, int32_t i, int32_t j) {
    return raw_entry(c, i, j) * raw_entry(c, i, 0) * raw_entry(c, 0, j) * raw_entry(c, 0, 0);
}

static void fill(const construction *c, int32_t transposed, uint8_t *signs) {
    for (int32_t i = 0; i < c->order; i++) {
        for (int32_t q = 0; q < c->order / 4; q++) {
            int bits = 0;
            for (int32_t b = 0; b < 4; b++) {
                const int32_t j = 4 * q + b;
                bits |= (transposed ? entry(c, j, i) : entry(c, i, j)) < 0 ? 16 << b : 0;
            }
            *signs++ = (uint8_t)bits;
        }
    }
}

/* Where the signs of an order begin, the plain ones before the transposed: m^2 / 2 bytes for every order before it. For
 * m = 4 (2 i + 1), as for the order of index i, these are 8 (2 i + 1)^2. */
enum { STORE_BYTES = 8 * NUM_ORDERS * (4 * NUM_ORDERS * NUM_ORDERS + 12 * NUM_ORDERS + 11) / 3 };

static int32_t offset_of(int32_t index) {
    return 8 * ((index - 1) * (4 * (index - 1) * (index - 1) + 12 * (index - 1) + 11) / 3);
}

enum { EMPTY, BUSY, READY };
static atomic_int states[NUM_ORDERS + 1];
static uint8_t store[STORE_BYTES];

int krn_hadamard_has_base(int64_t order) { return choose(order).kind != NONE; }

krn_hadamard_base krn_hadamard_base_of(int32_t order, int32_t transposed) {
    const int32_t index = order / 8;
    const int is_order = order >= 12 && order <= KRN_HADAMARD_MAX_ORDER && order % 8 == 4;
    if (!is_order)
        return (krn_hadamard_base){0};
    uint8_t *plain = store + offset_of(index);
    const int32_t half = order * order / 4;
    if (atomic_load_explicit(&states[index], memory_order_acquire) != READY) {
        construction c = choose(order);
        if (c.kind == NONE)
            return (krn_hadamard_base){0};
        int expected = EMPTY;
        if (atomic_compare_exchange_strong(&states[index], &expected, BUSY)) {
            if (c.kind != WILLIAMSON_4)
                find_squares(&c);
            fill(&c, 0, plain);
            fill(&c, 1, plain + half);
            atomic_store_explicit(&states[index], READY, memory_order_release);
        }
        /* Another thread needs some 100 us. */
        while (atomic_load_explicit(&states[index], memory_order_acquire) != READY) {
        }
    }
    return (krn_hadamard_base){order, transposed != 0, transposed ? plain + half : plain};
}
