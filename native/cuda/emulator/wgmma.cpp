/* wgmma: issued by all 128 threads of a warpgroup, done when they wait for its group. */
#include "common/half.h"
#include "cuda/emulator/block.h"

namespace emulator {

namespace {

struct Call {
    WgmmaShape shape;
    uint32_t *d;
    const uint32_t *a;
    uint64_t a_descriptor, b_descriptor;
    bool is_fenced;
};

/* One operand in shared memory. */
struct Operand {
    uint32_t start, leading, stride, swizzle;
};

bool is_integer(WgmmaType type) { return type != WgmmaType::F16 && type != WgmmaType::BF16; }
bool is_a_signed(WgmmaType type) { return type == WgmmaType::S8S8 || type == WgmmaType::S8U8; }
bool is_b_signed(WgmmaType type) { return type == WgmmaType::S8S8 || type == WgmmaType::U8S8; }
/* k takes 32 bytes of every type. */
int32_t depth(WgmmaType type) { return is_integer(type) ? 32 : 16; }

} // namespace

/* All threads of the warpgroup meet; the last does `run`. */
static void meet_group(const char *instruction, void *arguments, void (*run)(Block &block, Warpgroup &group)) {
    Thread &self = *running();
    Block &block = *self.block;
    if (block.launch->capability < 90)
        fault("%s is an instruction of compute capability 9.0a", instruction);
    const int32_t number = self.warp() / 4;
    if ((number + 1) * 128 > block.launch->block_threads)
        fault("%s by warp %d: its warpgroup is not complete in a block of %d threads", instruction, self.warp(),
              block.launch->block_threads);
    Warpgroup &group = block.warpgroups[static_cast<uint32_t>(number)];
    if (group.arrived > 0 && group.instruction != instruction)
        fault("%s, while others are at %s: the warpgroup has diverged", instruction, group.instruction);
    group.instruction = instruction;
    group.arguments[self.place.thread & 127] = arguments;
    if (++group.arrived < 128) {
        self.state = Thread::State::MEETING;
        self.instruction = instruction;
        self.meeting_mask = 0xFFFFFFFFu;
        block.wait(self);
        return;
    }
    group.arrived = 0;
    run(block, group);
    for (int32_t i = 0; i < 128; i++)
        if (i != (self.place.thread & 127))
            block.wake(block.threads[static_cast<uint32_t>(number * 128 + i)]);
}

static Call &call_of(const Warpgroup &group, int32_t thread) { return *static_cast<Call *>(group.arguments[thread]); }

static Operand decode(uint64_t descriptor) {
    static const uint32_t swizzles[] = {0, 128, 64, 32};
    if ((descriptor >> 49 & 7) != 0)
        fault("wgmma: the descriptor 0x%016llx has a base offset: operands begin where the swizzle's pattern does",
              static_cast<unsigned long long>(descriptor));
    return Operand{static_cast<uint32_t>(descriptor & 0x3FFF) << 4,
                   static_cast<uint32_t>(descriptor >> 16 & 0x3FFF) << 4,
                   static_cast<uint32_t>(descriptor >> 32 & 0x3FFF) << 4, swizzles[descriptor >> 62]};
}

/* Where 16 bytes of a row lie whose k is contiguous: chunk 0 or 1 of k. */
static uint32_t k_major(const Operand &o, int32_t row, int32_t chunk) {
    const uint32_t r = static_cast<uint32_t>(row), c = static_cast<uint32_t>(chunk);
    if (o.swizzle == 0)
        return o.start + r / 8 * o.stride + r % 8 * 16 + c * o.leading;
    return swizzled(o.start + r / 8 * o.stride + r % 8 * o.swizzle + c * 16, o.swizzle);
}

/* Where 16 bytes lie, 8 columns n of one k, when n is contiguous. */
static uint32_t n_major(const Operand &o, int32_t k, int32_t chunk) {
    const uint32_t d = static_cast<uint32_t>(k), c = static_cast<uint32_t>(chunk);
    if (o.swizzle == 0)
        return o.start + c * o.stride + d % 8 * 16 + d / 8 * o.leading;
    const uint32_t chunks = o.swizzle / 16;
    return swizzled(o.start + c / chunks * o.leading + c % chunks * 16 + d % 8 * o.swizzle + d / 8 * o.stride,
                    o.swizzle);
}

/* Reads 16 bytes on behalf of warps [first, last) of the group, which may have come by different ways. */
static const uint8_t *read(Block &block, Product &product, int32_t first_thread, int32_t first, int32_t last,
                           uint32_t address) {
    const uint32_t *seen = nullptr;
    for (int32_t w = first; w < last; w++) {
        const Thread &thread = block.threads[static_cast<uint32_t>(first_thread + w * 32)];
        block.shared.access("wgmma", address, 16, SharedMemory::Kind::READ, block.warp_actor_of(thread));
        if (block.clocks.known(thread.place.thread) != seen)
            check_proxy(block, "wgmma", thread.place.thread, address, 16);
        seen = block.clocks.known(thread.place.thread);
    }
    block.shared.set_reading(address, 16, true);
    product.operands.push_back(SharedRange{address, 16});
    return block.shared.at(address);
}

static float widen(WgmmaType type, const uint8_t *bytes) {
    uint16_t half;
    __builtin_memcpy(&half, bytes, sizeof half);
    return type == WgmmaType::F16 ? krn_f16_to_f32(half) : krn_bf16_to_f32(half);
}

/* Puts 16 bytes, consecutive k from `k` on, into a row of an operand. */
static void put(Product &p, bool is_a, int32_t row, int32_t k, const uint8_t *bytes, int32_t count) {
    const int32_t depth_of = depth(p.shape.type);
    if (is_integer(p.shape.type)) {
        const bool is_signed = is_a ? is_a_signed(p.shape.type) : is_b_signed(p.shape.type);
        int16_t *const to = (is_a ? p.integer_a : p.integer_b).data() + row * depth_of + k;
        for (int32_t i = 0; i < count; i++)
            to[i] = is_signed ? static_cast<int16_t>(static_cast<int8_t>(bytes[i])) : static_cast<int16_t>(bytes[i]);
    } else {
        float *const to = (is_a ? p.float_a : p.float_b).data() + row * depth_of + k;
        for (int32_t i = 0; i < count / 2; i++)
            to[i] = widen(p.shape.type, bytes + 2 * i);
    }
}

static void gather_a(Block &block, const Warpgroup &group, Product &p, int32_t first_thread) {
    const int32_t per_chunk = depth(p.shape.type) / 2;
    if (call_of(group, 0).a == nullptr) {
        const Operand o = decode(call_of(group, 0).a_descriptor);
        for (int32_t row = 0; row < 64; row++)
            for (int32_t chunk = 0; chunk < 2; chunk++)
                put(p, true, row, chunk * per_chunk,
                    read(block, p, first_thread, row / 16, row / 16 + 1, k_major(o, row, chunk)), 16);
        return;
    }
    /* As of mma.sync: rows of 16 to a warp. */
    const int32_t e = per_chunk / 4;
    for (int32_t i = 0; i < 128; i++)
        for (int32_t r = 0; r < 4; r++) {
            const int32_t row = i / 32 * 16 + i % 32 / 4 + r % 2 * 8, k = r / 2 * per_chunk + i % 4 * e;
            put(p, true, row, k, reinterpret_cast<const uint8_t *>(&call_of(group, i).a[r]), 4);
        }
}

static void gather_b(Block &block, const Warpgroup &group, Product &p, int32_t first_thread) {
    const Operand o = decode(call_of(group, 0).b_descriptor);
    const int32_t per_chunk = depth(p.shape.type) / 2;
    if (!p.shape.b_is_n_major) {
        for (int32_t n = 0; n < p.shape.n; n++)
            for (int32_t chunk = 0; chunk < 2; chunk++)
                put(p, false, n, chunk * per_chunk, read(block, p, first_thread, 0, 4, k_major(o, n, chunk)), 16);
        return;
    }
    for (int32_t k = 0; k < 16; k++)
        for (int32_t chunk = 0; chunk < p.shape.n / 8; chunk++) {
            const uint8_t *const bytes = read(block, p, first_thread, 0, 4, n_major(o, k, chunk));
            for (int32_t i = 0; i < 8; i++)
                put(p, false, chunk * 8 + i, k, bytes + 2 * i, 2);
        }
}

static bool same(const Call &a, const Call &b) {
    return a.shape.type == b.shape.type && a.shape.n == b.shape.n && a.shape.b_is_n_major == b.shape.b_is_n_major &&
           a.shape.accumulates == b.shape.accumulates && (a.a == nullptr) == (b.a == nullptr) &&
           a.a_descriptor == b.a_descriptor && a.b_descriptor == b.b_descriptor;
}

static void check_untouched(const Accumulators &a, int32_t first_thread) {
    for (int32_t i = 0; i < 128; i++)
        for (int32_t j = 0; j < a.count; j++) {
            uint32_t value;
            __builtin_memcpy(&value, a.visible[i] + j, sizeof value);
            if (value != Accumulators::POISON)
                fault("wgmma: thread %d wrote accumulator %d while the product was in flight", first_thread + i, j);
        }
}

/* Takes over the accumulators of the threads, unless a product in flight has them already. */
static void take(Warpgroup &group, int32_t first_thread, const Product &product) {
    const int32_t count = product.shape.n / 2;
    for (Accumulators &a : group.accumulators) {
        if (a.visible[0] != call_of(group, 0).d)
            continue;
        if (a.count != count)
            fault("wgmma of %d columns on accumulators that one of %d columns has in flight", count * 2, a.count * 2);
        check_untouched(a, first_thread);
        a.last_group = product.group;
        return;
    }
    for (int32_t i = 0; i < 128; i++)
        if (!call_of(group, i).is_fenced)
            fault("wgmma without wgmma.fence since thread %d could touch the registers", first_thread + i);
    group.accumulators.emplace_back();
    Accumulators &a = group.accumulators.back();
    a.count = count;
    a.last_group = product.group;
    a.values.resize(static_cast<uint32_t>(128 * count));
    for (int32_t i = 0; i < 128; i++) {
        a.visible[i] = call_of(group, i).d;
        __builtin_memcpy(&a.values[static_cast<uint32_t>(i * count)], a.visible[i], static_cast<uint32_t>(count) * 4);
        for (int32_t j = 0; j < count; j++)
            __builtin_memcpy(a.visible[i] + j, &Accumulators::POISON, 4);
    }
}

static void run_issue(Block &block, Warpgroup &group) {
    const int32_t first_thread = running()->place.thread & ~127;
    for (int32_t i = 1; i < 128; i++)
        if (!same(call_of(group, 0), call_of(group, i)))
            fault("wgmma: threads %d and %d differ in shape or descriptors", first_thread, first_thread + i);
    /* In its place at once: a fault runs no destructors. */
    group.products.emplace_back();
    Product &p = group.products.back();
    p.shape = call_of(group, 0).shape;
    const uint32_t k = static_cast<uint32_t>(depth(p.shape.type)), n = static_cast<uint32_t>(p.shape.n);
    if (is_integer(p.shape.type)) {
        p.integer_a.resize(64 * k);
        p.integer_b.resize(n * k);
    } else {
        p.float_a.resize(64 * k);
        p.float_b.resize(n * k);
    }
    p.accumulators = call_of(group, 0).d;
    p.group = group.next_group;
    take(group, first_thread, p);
    gather_a(block, group, p, first_thread);
    gather_b(block, group, p, first_thread);
}

void wgmma(const WgmmaShape &shape, void *d, const uint32_t *a, uint64_t a_descriptor, uint64_t b_descriptor) {
    Thread &self = *running();
    Call call = {shape, static_cast<uint32_t *>(d), a, a_descriptor, b_descriptor, self.has_wgmma_fence};
    meet_group("wgmma.mma_async", &call, run_issue);
}

template <class T, class Sum> static Sum dot(const T *a, const T *b, int32_t k) {
    Sum sum = 0;
    for (int32_t i = 0; i < k; i++)
        sum += static_cast<Sum>(a[i]) * static_cast<Sum>(b[i]);
    return sum;
}

/* Accumulator i of a thread: row and column of d. */
static int32_t d_row(int32_t thread, int32_t i) { return thread / 32 * 16 + thread % 32 / 4 + i / 2 % 2 * 8; }
static int32_t d_col(int32_t thread, int32_t i) { return i / 4 * 8 + thread % 4 * 2 + i % 2; }

static void compute(const Product &p, Accumulators &a) {
    const int32_t k = depth(p.shape.type);
    for (int32_t thread = 0; thread < 128; thread++)
        for (int32_t i = 0; i < a.count; i++) {
            const int32_t row = d_row(thread, i), col = d_col(thread, i);
            uint32_t &value = a.values[static_cast<uint32_t>(thread * a.count + i)];
            if (is_integer(p.shape.type)) {
                const int32_t sum = dot<int16_t, int32_t>(&p.integer_a[static_cast<uint32_t>(row * k)],
                                                          &p.integer_b[static_cast<uint32_t>(col * k)], k);
                value = (p.shape.accumulates ? value : 0) + static_cast<uint32_t>(sum);
            } else {
                const double sum = dot<float, double>(&p.float_a[static_cast<uint32_t>(row * k)],
                                                      &p.float_b[static_cast<uint32_t>(col * k)], k);
                const double before = p.shape.accumulates ? static_cast<double>(krn_f32_from_bits(value)) : 0.0;
                value = krn_f32_bits(static_cast<float>(before + sum));
            }
        }
}

static void run_commit(Block &, Warpgroup &group) { group.next_group++; }

void wgmma_commit() { meet_group("wgmma.commit_group", nullptr, run_commit); }

static void run_wait(Block &block, Warpgroup &group) {
    const int32_t pending = *static_cast<int32_t *>(group.arguments[0]);
    const int32_t first_thread = running()->place.thread & ~127;
    const auto is_done = [&](uint32_t number) { return number + static_cast<uint32_t>(pending) < group.next_group; };
    size_t done = 0;
    for (; done < group.products.size() && is_done(group.products[done].group); done++) {
        const Product &p = group.products[done];
        for (Accumulators &a : group.accumulators)
            if (a.visible[0] == p.accumulators)
                compute(p, a);
        for (const SharedRange &operand : p.operands)
            block.shared.set_reading(operand.address, operand.bytes, false);
    }
    group.products.erase(group.products.begin(), group.products.begin() + static_cast<std::ptrdiff_t>(done));
    for (size_t i = 0; i < group.accumulators.size();) {
        const Accumulators &a = group.accumulators[i];
        if (!is_done(a.last_group)) {
            i++;
            continue;
        }
        check_untouched(a, first_thread);
        for (int32_t t = 0; t < 128; t++)
            __builtin_memcpy(a.visible[t], &a.values[static_cast<uint32_t>(t * a.count)],
                             static_cast<uint32_t>(a.count) * 4);
        group.accumulators.erase(group.accumulators.begin() + static_cast<std::ptrdiff_t>(i));
    }
    for (int32_t t = 0; t < 128; t++)
        block.threads[static_cast<uint32_t>(first_thread + t)].has_wgmma_fence = false;
}

void wgmma_wait(int32_t pending) { meet_group("wgmma.wait_group", &pending, run_wait); }

void wgmma_fence() {
    if (running()->block->launch->capability < 90)
        fault("wgmma.fence is an instruction of compute capability 9.0a");
    running()->has_wgmma_fence = true;
}

} // namespace emulator
