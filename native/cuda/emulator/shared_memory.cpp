#include "cuda/emulator/shared_memory.h"

#include "cuda/emulator/fault.h"

#include <algorithm>
#include <stdio.h>

namespace emulator {

void SharedMemory::reset(uint32_t bytes, Clocks *block_clocks) {
    clocks = block_clocks;
    bytes_ = bytes;
    const uint32_t units = (bytes + 15) / 16;
    /* Recognisable where a kernel gets at bytes that it did not write, in spite of the checks. */
    memory.assign(units * 16, 0xCD);
    written.assign(units, 0);
    landing.assign(units, 0);
    reading.assign(units, 0);
    reading_count.assign(units, 0);
    cells.assign(units * 4, Cell{0, 0, NOBODY, NOBODY, 0, false});
    byte_cells.clear();
    readers.clear();
    free_sets.clear();
}

void SharedMemory::check_range(const char *instruction, uint32_t address, uint32_t bytes, uint32_t alignment) const {
    if (address % alignment != 0)
        fault("%s of %u bytes at shared address 0x%x, which is no multiple of %u", instruction, bytes, address,
              alignment);
    if (address < SHARED_BASE || bytes > bytes_ || address - SHARED_BASE > bytes_ - bytes)
        fault("%s of %u bytes at shared address 0x%x is outside of shared memory (0x%x to 0x%x)", instruction, bytes,
              address, SHARED_BASE, SHARED_BASE + bytes_);
}

void SharedMemory::unreadable(const char *instruction, uint32_t address, uint32_t bytes) const {
    const uint32_t offset = address - SHARED_BASE;
    const uint32_t mask = ((1u << bytes) - 1) << (offset & 15);
    if ((landing[offset / 16] & mask) != 0)
        fault("%s of %u bytes at shared address 0x%x reads what an asynchronous copy has not been waited for",
              instruction, bytes, address);
    fault("%s of %u bytes at shared address 0x%x reads what was never written", instruction, bytes, address);
}

void SharedMemory::busy(const char *instruction, uint32_t address, uint32_t bytes) const {
    const uint32_t offset = address - SHARED_BASE;
    const uint32_t mask = ((1u << bytes) - 1) << (offset & 15);
    if ((landing[offset / 16] & mask) != 0)
        fault("%s of %u bytes at shared address 0x%x writes where an asynchronous copy is in flight or an mbarrier is",
              instruction, bytes, address);
    fault("%s of %u bytes at shared address 0x%x writes what an asynchronous operation still reads", instruction, bytes,
          address);
}

void SharedMemory::race(const char *instruction, uint32_t address, const char *what, uint32_t entity) const {
    char who[64];
    const uint32_t threads = static_cast<uint32_t>(clocks->thread_count());
    if (entity < threads)
        snprintf(who, sizeof who, "thread %u", entity);
    else if (!clocks->is_agent(entity))
        snprintf(who, sizeof who, "warp %u", entity - threads);
    else
        snprintf(who, sizeof who, "an asynchronous copy");
    if (clocks->is_agent(entity))
        fault("%s at shared address 0x%x races with a %s by %s: this thread has not waited on its mbarrier",
              instruction, address, what, who);
    fault("%s at shared address 0x%x races with a %s by %s: no barrier lies between them", instruction, address, what,
          who);
}

void SharedMemory::check_readers(const char *instruction, uint32_t address, const Cell &cell,
                                 const Actor &actor) const {
    if (cell.set == 0) {
        if (cell.reader != NOBODY && !clocks->ordered(actor.thread, cell.reader, cell.read_clock))
            race(instruction, address, "read", cell.reader);
        return;
    }
    const int32_t warps = clocks->warp_count();
    const Readers *const set = &readers[static_cast<uint32_t>((cell.set - 1) * warps)];
    for (int32_t w = 0; w < warps; w++) {
        if (set[w].warp_clock != 0 && !clocks->ordered(actor.thread, clocks->warp_entity(w), set[w].warp_clock))
            race(instruction, address, "read", clocks->warp_entity(w));
        for (uint32_t lanes = set[w].lanes; lanes != 0; lanes &= lanes - 1) {
            const uint32_t entity = static_cast<uint32_t>(w * 32 + __builtin_ctz(lanes));
            if (!clocks->ordered(actor.thread, entity, set[w].clock))
                race(instruction, address, "read", entity);
        }
    }
}

void SharedMemory::add_reader(Cell &cell, uint32_t entity, uint32_t clock) {
    const uint32_t threads = static_cast<uint32_t>(clocks->thread_count());
    Readers *const set = &readers[static_cast<uint32_t>((cell.set - 1) * clocks->warp_count())];
    if (entity >= threads) {
        set[entity - threads].warp_clock = clock;
        return;
    }
    Readers &of_warp = set[entity / 32];
    /* Lanes that read in an older interval are forgotten: exact sets would cost more than they find. */
    of_warp.lanes = (of_warp.clock == clock ? of_warp.lanes : 0) | 1u << entity % 32;
    of_warp.clock = clock;
}

void SharedMemory::note_read(const char *instruction, uint32_t address, Cell &cell, const Actor &actor) {
    if (cell.writer != NOBODY && !clocks->ordered(actor.thread, cell.writer, cell.write_clock))
        race(instruction, address, "write", cell.writer);
    if (cell.set != 0) {
        add_reader(cell, actor.entity, actor.clock);
        return;
    }
    if (cell.reader == NOBODY || cell.reader == actor.entity ||
        clocks->ordered(actor.thread, cell.reader, cell.read_clock)) {
        cell.reader = static_cast<uint16_t>(actor.entity);
        cell.read_clock = actor.clock;
        return;
    }
    const uint32_t warps = static_cast<uint32_t>(clocks->warp_count());
    if (free_sets.empty()) {
        const size_t number = readers.size() / warps + 1;
        if (number > UINT16_MAX) {
            /* So many words are read by many at once only in memory that is never written again. */
            cell.reader = static_cast<uint16_t>(actor.entity);
            cell.read_clock = actor.clock;
            return;
        }
        cell.set = static_cast<uint16_t>(number);
        readers.resize(readers.size() + warps);
    } else {
        cell.set = free_sets.back();
        free_sets.pop_back();
    }
    std::fill_n(&readers[(cell.set - 1u) * warps], warps, Readers{0, 0, 0});
    add_reader(cell, cell.reader, cell.read_clock);
    add_reader(cell, actor.entity, actor.clock);
}

void SharedMemory::touch(const char *instruction, uint32_t address, Cell &cell, Kind kind, const Actor &actor) {
    if (kind == Kind::READ) {
        note_read(instruction, address, cell, actor);
        return;
    }
    const bool both_atomic = kind == Kind::ATOMIC && cell.is_atomic;
    if (!both_atomic && cell.writer != NOBODY && !clocks->ordered(actor.thread, cell.writer, cell.write_clock))
        race(instruction, address, "write", cell.writer);
    check_readers(instruction, address, cell, actor);
    if (cell.set != 0)
        free_sets.push_back(cell.set);
    cell = Cell{actor.clock, 0, static_cast<uint16_t>(actor.entity), NOBODY, 0, kind == Kind::ATOMIC};
}

void SharedMemory::split(Cell &cell) {
    const uint32_t first = static_cast<uint32_t>(byte_cells.size());
    Cell whole = cell;
    /* A set has one owner. */
    if (whole.set != 0) {
        for (int32_t i = 0; i < 4; i++) {
            const uint32_t warps = static_cast<uint32_t>(clocks->warp_count());
            Cell part = whole;
            part.set = static_cast<uint16_t>(readers.size() / warps + 1);
            readers.resize(readers.size() + warps);
            std::copy_n(&readers[(whole.set - 1u) * warps], warps, &readers[(part.set - 1u) * warps]);
            byte_cells.push_back(part);
        }
        free_sets.push_back(whole.set);
    } else {
        byte_cells.insert(byte_cells.end(), 4, whole);
    }
    cell = Cell{first, 0, SPLIT, NOBODY, 0, false};
}

uint8_t *SharedMemory::access(const char *instruction, uint32_t address, uint32_t bytes, Kind kind,
                              const Actor &actor) {
    check_range(instruction, address, bytes, bytes);
    const uint32_t offset = address - SHARED_BASE;
    const uint32_t unit = offset / 16;
    const uint16_t mask = static_cast<uint16_t>(((1u << bytes) - 1) << (offset & 15));
    if (kind != Kind::WRITE && (written[unit] & ~landing[unit] & mask) != mask)
        unreadable(instruction, address, bytes);
    if (kind != Kind::READ) {
        if (((landing[unit] | reading[unit]) & mask) != 0)
            busy(instruction, address, bytes);
        written[unit] |= mask;
    }
    if (bytes >= 4) {
        for (uint32_t word = offset / 4; word < (offset + bytes) / 4; word++) {
            if (cells[word].writer != SPLIT) {
                touch(instruction, SHARED_BASE + word * 4, cells[word], kind, actor);
                continue;
            }
            for (uint32_t b = 0; b < 4; b++)
                touch(instruction, SHARED_BASE + word * 4 + b, byte_cells[cells[word].write_clock + b], kind, actor);
        }
    } else {
        Cell &word = cells[offset / 4];
        if (word.writer != SPLIT)
            split(word);
        for (uint32_t b = offset % 4; b < offset % 4 + bytes; b++)
            touch(instruction, address, byte_cells[word.write_clock + b], kind, actor);
    }
    return &memory[offset];
}

uint8_t *SharedMemory::access_block(const char *instruction, uint32_t address, uint32_t bytes, Kind kind,
                                    const Actor &actor) {
    check_range(instruction, address, bytes, 16);
    for (uint32_t done = 0; done < bytes; done += 16)
        access(instruction, address + done, 16, kind, actor);
    return at(address);
}

void SharedMemory::set_landing(uint32_t address, uint32_t bytes, bool is_landing) {
    for (uint32_t offset = address - SHARED_BASE; bytes > 0;) {
        const uint32_t part = std::min(bytes, 16 - offset % 16);
        const uint16_t mask = static_cast<uint16_t>(((1u << part) - 1) << (offset & 15));
        uint16_t &bits = landing[offset / 16];
        bits = static_cast<uint16_t>(is_landing ? bits | mask : bits & ~mask);
        offset += part;
        bytes -= part;
    }
}

void SharedMemory::set_reading(uint32_t address, uint32_t bytes, bool is_reading) {
    for (uint32_t unit = (address - SHARED_BASE) / 16; unit < (address - SHARED_BASE + bytes) / 16; unit++) {
        reading_count[unit] = static_cast<uint8_t>(reading_count[unit] + (is_reading ? 1 : -1));
        reading[unit] = reading_count[unit] != 0 ? 0xFFFF : 0;
    }
}

void SharedMemory::relabel(uint32_t address, uint32_t bytes, uint32_t entity, uint32_t clock) {
    for (uint32_t word = (address - SHARED_BASE) / 4; word < (address - SHARED_BASE + bytes) / 4; word++) {
        Cell &cell = cells[word];
        const uint32_t parts = cell.writer == SPLIT ? 4 : 1;
        Cell *const first = cell.writer == SPLIT ? &byte_cells[cell.write_clock] : &cell;
        for (uint32_t i = 0; i < parts; i++) {
            first[i].writer = static_cast<uint16_t>(entity);
            first[i].write_clock = clock;
        }
    }
}

void SharedMemory::last_write(uint32_t address, uint32_t *entity, uint32_t *clock) const {
    const uint32_t offset = address - SHARED_BASE;
    const Cell *cell = &cells[offset / 4];
    if (cell->writer == SPLIT)
        cell = &byte_cells[cell->write_clock + offset % 4];
    *entity = cell->writer;
    *clock = cell->write_clock;
}

} // namespace emulator
