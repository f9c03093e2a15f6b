/* The shared memory of a block, and for every byte whether it may be read and who touched it last. */
#ifndef KRN_EMULATOR_SHARED_MEMORY_H
#define KRN_EMULATOR_SHARED_MEMORY_H

#include "cuda/emulator/clocks.h"
#include "cuda/emulator/memory.h"

#include <stdint.h>
#include <vector>

namespace emulator {

/* Who does an access: on behalf of which thread it is checked, and what it is labelled with. */
struct Actor {
    int32_t thread;
    uint32_t entity, clock;
};

class SharedMemory {
  public:
    static constexpr uint32_t MAX_BYTES = 227 * 1024;
    enum class Kind { READ, WRITE, ATOMIC };

    void reset(uint32_t bytes, Clocks *clocks);

    /* Checks an access of 1, 2, 4, 8 or 16 bytes that is aligned, and records it. */
    uint8_t *access(const char *instruction, uint32_t address, uint32_t bytes, Kind kind, const Actor &actor);

    /* The same of any number of bytes at a multiple of 16, for the copy engine and the tensor cores. */
    uint8_t *access_block(const char *instruction, uint32_t address, uint32_t bytes, Kind kind, const Actor &actor);

    /* A write that is in flight: nobody may touch the bytes until it has landed. `by` says what is in flight. */
    void set_landing(uint32_t address, uint32_t bytes, bool is_landing);
    /* A read that is in flight: nobody may write the bytes. Counted, as several may read the same. */
    void set_reading(uint32_t address, uint32_t bytes, bool is_reading);
    /* Labels bytes as written by somebody else than checked them: an asynchronous copy that has landed. */
    void relabel(uint32_t address, uint32_t bytes, uint32_t entity, uint32_t clock);
    /* The label of the last write of a word, for the checks between proxies. Entity NOBODY when there was none. */
    void last_write(uint32_t address, uint32_t *entity, uint32_t *clock) const;

    void check_range(const char *instruction, uint32_t address, uint32_t bytes, uint32_t alignment) const;
    uint8_t *at(uint32_t address) { return &memory[address - SHARED_BASE]; }
    uint32_t size() const { return bytes_; }

    static constexpr uint32_t NOBODY = 0xFFFF;

  private:
    /* The last write of a word and the reads since. */
    struct Cell {
        uint32_t write_clock, read_clock;
        /* NOBODY, or an entity; SPLIT: the word was touched in parts, write_clock is the number of its first byte's
         * cell. */
        uint16_t writer, reader;
        /* 0, or 1 + the number of a set of readers when one is not enough. */
        uint16_t set;
        bool is_atomic;
    };
    /* Readers of a word by warp: the lanes that read in one interval, and the interval. */
    struct Readers {
        uint32_t lanes, clock, warp_clock;
    };
    static constexpr uint16_t SPLIT = 0xFFFE;

    void touch(const char *instruction, uint32_t address, Cell &cell, Kind kind, const Actor &actor);
    void note_read(const char *instruction, uint32_t address, Cell &cell, const Actor &actor);
    void add_reader(Cell &cell, uint32_t entity, uint32_t clock);
    void check_readers(const char *instruction, uint32_t address, const Cell &cell, const Actor &actor) const;
    void split(Cell &cell);
    [[noreturn]] void race(const char *instruction, uint32_t address, const char *what, uint32_t entity) const;
    [[noreturn]] void unreadable(const char *instruction, uint32_t address, uint32_t bytes) const;
    [[noreturn]] void busy(const char *instruction, uint32_t address, uint32_t bytes) const;

    Clocks *clocks = nullptr;
    uint32_t bytes_ = 0;
    std::vector<uint8_t> memory;
    /* A bit for each byte, 16 bytes to an element: it was written; a write is in flight; reads are. */
    std::vector<uint16_t> written, landing, reading;
    std::vector<uint8_t> reading_count;
    std::vector<Cell> cells, byte_cells;
    std::vector<Readers> readers;
    std::vector<uint16_t> free_sets;
};

} // namespace emulator

#endif
