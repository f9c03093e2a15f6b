/* Atomic operations of ptx/ over many threads of several blocks, whose results no order of the threads changes. */
#include "cuda_device.h"

#include "cuda/common/context.h"
#include "cuda/ptx/atomic.h"
#include "cuda/ptx/barrier.h"
#include "cuda/ptx/memory.h"

#include <cstring>

namespace {

constexpr int32_t BLOCKS = 5, THREADS = 64, COUNT = BLOCKS * THREADS;

struct Words {
    int32_t sum, highest, bits, exchanged, by_compare, old_values;
    uint32_t unsigned_sum, unsigned_highest;
    float float_sum;
    int32_t shared_sum, shared_highest;
    int32_t arrived, last_saw, last_blocks;
    int32_t left[BLOCKS];
};

struct AtomicParams {
    Words *words;
};

} // namespace

KRN_KERNEL(change_words, AtomicParams, THREADS, 1) {
    Words *const w = p.words;
    const int32_t number = ptx::block_x() * THREADS + ptx::thread_x();
    ptx::atomic_add(&w->sum, number - 100);
    ptx::atomic_add(&w->unsigned_sum, 0x01000000u);
    ptx::atomic_add(&w->float_sum, static_cast<float>(number));
    ptx::atomic_max(&w->highest, -1 - number);
    ptx::atomic_max(&w->unsigned_highest, 0x80000000u + static_cast<uint32_t>(number));
    ptx::atomic_or(&w->bits, 1 << number % 20);
    /* What every thread found, with what is left at the end, is what all of them brought. */
    ptx::atomic_add(&w->old_values, ptx::atomic_exchange(&w->exchanged, number));
    int32_t found = ptx::load_acquire_gpu(&w->by_compare), expected;
    do {
        expected = found;
        found = ptx::atomic_compare_exchange(&w->by_compare, expected, expected + 2);
    } while (found != expected);
    const ptx::SharedAddress sum = ptx::shared_base(), highest = sum + 4;
    if (ptx::thread_x() == 0) {
        ptx::store_shared(sum, 0);
        ptx::store_shared(highest, -1000);
    }
    ptx::sync_threads();
    ptx::atomic_add_shared(sum, number);
    ptx::atomic_max_shared(highest, -number);
    ptx::sync_threads();
    if (ptx::thread_x() != 0)
        return;
    ptx::atomic_add(&w->shared_sum, ptx::load_shared<int32_t>(sum));
    ptx::atomic_max(&w->shared_highest, ptx::load_shared<int32_t>(highest));
    /* The last block to arrive sees what all others have left. */
    ptx::store_global(&w->left[ptx::block_x()], 1 << ptx::block_x());
    ptx::fence_gpu();
    if (ptx::atomic_add_acquire_release_gpu(&w->arrived, 1) != BLOCKS - 1)
        return;
    int32_t saw = 0;
    for (int32_t i = 0; i < BLOCKS; i++)
        saw |= ptx::load_global(&w->left[i]);
    ptx::store_global(&w->last_saw, saw);
    ptx::atomic_add(&w->last_blocks, 1);
}

int main() {
    krn_cuda_context *const context = cuda_context_of(KRN_CUDA_CLASS_SM80);
    Words words = {};
    words.highest = -1000000;
    const AtomicParams params = {static_cast<Words *>(cuda_copy_of(context, &words, sizeof words))};
    const uint32_t blocks[3] = {BLOCKS, 1, 1};
    CHECK_OK(krn_cuda_run(context, "change_words", blocks, THREADS, 8, &params, sizeof params, nullptr));
    cuda_read(context, &words, params.words, sizeof words);
    constexpr int32_t SUM = COUNT * (COUNT - 1) / 2;
    CHECK(words.sum == SUM - 100 * COUNT, "atomic_add of int32_t: %d", words.sum);
    CHECK(words.unsigned_sum == 0x01000000u * COUNT, "atomic_add of uint32_t: %u", words.unsigned_sum);
    CHECK(words.float_sum == static_cast<float>(SUM), "atomic_add of float: %g", static_cast<double>(words.float_sum));
    CHECK(words.highest == -1, "atomic_max of int32_t: %d", words.highest);
    CHECK(words.unsigned_highest == 0x80000000u + COUNT - 1, "atomic_max of uint32_t: %u", words.unsigned_highest);
    CHECK(words.bits == (1 << 20) - 1, "atomic_or: %x", static_cast<unsigned>(words.bits));
    CHECK(words.old_values + words.exchanged == SUM, "atomic_exchange: %d and %d", words.old_values, words.exchanged);
    CHECK(words.by_compare == 2 * COUNT, "atomic_compare_exchange: %d", words.by_compare);
    CHECK(words.shared_sum == SUM, "atomic_add_shared: %d", words.shared_sum);
    CHECK(words.shared_highest == 0, "atomic_max_shared: %d", words.shared_highest);
    CHECK(words.arrived == BLOCKS && words.last_blocks == 1 && words.last_saw == (1 << BLOCKS) - 1,
          "%d blocks arrived, %d were the last and saw %x", words.arrived, words.last_blocks,
          static_cast<unsigned>(words.last_saw));
    cuda_free_all(context);
    krn_cuda_context_destroy(context);
    return 0;
}
