#include "cuda/emulator/mbarrier.h"

#include "cuda/emulator/block.h"

namespace emulator {

static Mbarrier *look_up(Block &block, uint32_t address) {
    for (Mbarrier &m : block.transfers.mbarriers)
        if (m.address == address)
            return &m;
    return nullptr;
}

/* The mbarrier that the running thread names, made where the thread knows of. */
static Mbarrier &find(Thread &self, const char *instruction, uint32_t address) {
    Block &block = *self.block;
    Mbarrier *const m = look_up(block, address);
    if (m == nullptr)
        fault("%s at shared address 0x%x, where no mbarrier was initialised", instruction, address);
    if (!block.clocks.ordered(self.place.thread, m->maker, m->made))
        fault("%s on the mbarrier at 0x%x races with its initialisation by thread %u: no barrier lies between them",
              instruction, address, m->maker);
    return *m;
}

static void need_sm90(const Thread &self, const char *instruction) {
    if (self.block->launch->capability < 90)
        fault("%s is an instruction of compute capability 9.0", instruction);
}

void mbarrier_init(uint32_t address, int32_t arrivals) {
    Thread &self = *running();
    Block &block = *self.block;
    need_sm90(self, "mbarrier.init");
    if (look_up(block, address) != nullptr)
        fault("mbarrier.init at 0x%x, where there is an mbarrier", address);
    if (arrivals < 1 || arrivals > (1 << 20) - 1)
        fault("mbarrier.init with %d arrivals", arrivals);
    if (block.transfers.mbarriers.size() == Clocks::MAX_AGENTS)
        fault("mbarrier.init: the emulator has %d mbarriers for a block", Clocks::MAX_AGENTS);
    block.shared.access("mbarrier.init", address, 8, SharedMemory::Kind::WRITE, block.actor_of(self));
    /* Loads and stores have no business there. */
    block.shared.set_landing(address, 8, true);
    const int32_t agent = static_cast<int32_t>(block.transfers.mbarriers.size());
    const Actor actor = block.actor_of(self);
    block.transfers.mbarriers.push_back(Mbarrier{address,
                                                 agent,
                                                 actor.entity,
                                                 actor.clock,
                                                 arrivals,
                                                 arrivals,
                                                 0,
                                                 0,
                                                 block.clocks.nothing(),
                                                 block.clocks.nothing(),
                                                 {}});
}

static void end_phase_if_complete(Block &block, Mbarrier &m) {
    if (m.missing != 0 || m.missing_bytes != 0)
        return;
    m.completed = m.arriving;
    m.phase++;
    m.missing = m.arrivals;
    block.launch->changes++;
    for (Thread *thread : m.waiting)
        block.wake(*thread);
    m.waiting.clear();
}

void mbarrier_arrive(uint32_t address, int32_t expected_bytes) {
    Thread &self = *running();
    Block &block = *self.block;
    Mbarrier &m = find(self, "mbarrier.arrive", address);
    if (m.missing == 0)
        fault("mbarrier.arrive on the mbarrier at 0x%x, at which all %d have arrived while %lld bytes are missing",
              address, m.arrivals, static_cast<long long>(m.missing_bytes));
    block.clocks.release(self.place.thread, m.arriving);
    m.missing_bytes += expected_bytes;
    m.missing--;
    end_phase_if_complete(block, m);
}

bool mbarrier_wait(uint32_t address, int32_t parity) {
    Thread &self = *running();
    Block &block = *self.block;
    /* Copied: initialising another moves it. */
    Mbarrier *m = &find(self, "mbarrier.try_wait", address);
    if (parity != 0 && parity != 1)
        fault("mbarrier.try_wait for parity %d", parity);
    while (static_cast<int32_t>(m->phase & 1) == parity) {
        m->waiting.push_back(&self);
        self.state = Thread::State::MBARRIER;
        self.mbarrier = address;
        block.wait(self);
        m = look_up(block, address);
    }
    block.clocks.acquire(self.place.thread, m->completed);
    return true;
}

/* Copies between a box in shared memory and the tensor, row by row of its innermost dimension. */
static void move_box(Block &block, const TensorMap &map, const Coordinates &box, uint32_t shared, bool to_shared) {
    const uint32_t element = map.element_bytes, row_bytes = map.box[0] * element;
    uint32_t rows = 1;
    for (int32_t d = 1; d < map.rank; d++)
        rows *= map.box[d];
    for (uint32_t row = 0; row < rows; row++) {
        uint64_t global = map.address;
        bool is_inside = true;
        uint32_t rest = row;
        for (int32_t d = 1; d < map.rank; d++) {
            const int64_t at = box.at[d] + static_cast<int64_t>(rest % map.box[d]);
            rest /= map.box[d];
            is_inside = is_inside && at >= 0 && at < static_cast<int64_t>(map.sizes[d]);
            global += static_cast<uint64_t>(at) * map.strides_bytes[d - 1];
        }
        for (uint32_t e = 0; e < map.box[0]; e++) {
            uint8_t *const in_shared = block.shared.at(swizzled(shared + row * row_bytes + e * element, map.swizzle));
            const int64_t at = box.at[0] + static_cast<int64_t>(e);
            if (!is_inside || at < 0 || at >= static_cast<int64_t>(map.sizes[0])) {
                for (uint32_t b = 0; to_shared && b < element; b++)
                    in_shared[b] = 0;
                continue;
            }
            const void *const address = reinterpret_cast<const void *>(global + static_cast<uint64_t>(at) * element);
            uint8_t *const in_global = block.launch->memory->find(address, element);
            if (in_global == nullptr)
                fault(
                    "a bulk tensor copy touches global address %p, which is in no allocation: its tensor map is wrong",
                    address);
            __builtin_memcpy(to_shared ? in_shared : in_global, to_shared ? in_global : in_shared, element);
        }
    }
}

void Transfers::land_first(Block &block) {
    const Transfer t = flying.front();
    flying.pop_front();
    if (t.is_tensor)
        move_box(block, t.map, t.box, t.to, true);
    else
        __builtin_memcpy(block.shared.at(t.to), block.launch->memory->find(t.from, t.bytes), t.bytes);
    Mbarrier &m = *look_up(block, t.mbarrier);
    const uint32_t clock = block.clocks.next_clock();
    block.shared.set_landing(t.to, t.bytes, false);
    block.shared.relabel(t.to, t.bytes, block.clocks.agent_entity(m.agent), clock);
    m.arriving[block.clocks.agent_entity(m.agent)] = clock;
    m.missing_bytes -= t.bytes;
    end_phase_if_complete(block, m);
}

void check_proxy(Block &block, const char *instruction, int32_t thread, uint32_t address, uint32_t bytes) {
    for (uint32_t done = 0; done < bytes; done += 4) {
        uint32_t entity, clock;
        block.shared.last_write(address + done, &entity, &clock);
        if (entity != SharedMemory::NOBODY && !block.clocks.fenced(thread, entity, clock))
            fault("%s at shared address 0x%x meets a write by %s %u that no fence.proxy.async lies behind", instruction,
                  address + done,
                  entity < static_cast<uint32_t>(block.clocks.thread_count()) ? "thread" : "the warp of entity",
                  entity);
    }
}

static void begin_load(const Transfer &transfer) {
    Thread &self = *running();
    Block &block = *self.block;
    const Mbarrier &m = find(self, "cp.async.bulk", transfer.mbarrier);
    block.shared.check_range("cp.async.bulk", transfer.to, transfer.bytes, 16);
    check_proxy(block, "cp.async.bulk", self.place.thread, transfer.to, transfer.bytes);
    const Actor actor = {self.place.thread, block.clocks.agent_entity(m.agent), block.clocks.next_clock()};
    block.shared.access_block("cp.async.bulk", transfer.to, transfer.bytes, SharedMemory::Kind::WRITE, actor);
    block.shared.set_landing(transfer.to, transfer.bytes, true);
    block.transfers.flying.push_back(transfer);
}

static void check_bulk(Thread &self, uint32_t shared, const void *global, int32_t bytes) {
    need_sm90(self, "cp.async.bulk");
    if (bytes <= 0 || bytes % 16 != 0 || shared % 16 != 0 || reinterpret_cast<uint64_t>(global) % 16 != 0)
        fault("cp.async.bulk of %d bytes between shared address 0x%x and global address %p: all are to be multiples of "
              "16",
              bytes, shared, global);
    if (self.block->launch->memory->find(global, static_cast<uint64_t>(bytes)) == nullptr) {
        char where[120];
        self.block->launch->memory->describe(global, where, sizeof where);
        fault("cp.async.bulk of %d bytes at global address %p, %s", bytes, global, where);
    }
}

void bulk_load(uint32_t to, const void *from, int32_t bytes, uint32_t mbarrier) {
    check_bulk(*running(), to, from, bytes);
    begin_load(Transfer{to, static_cast<uint32_t>(bytes), mbarrier, false, from, {}, {}});
}

/* The map, when it is one and fits the instruction and the address; its box in bytes. */
static TensorMap map_of(const krn_cuda_tensor_map *opaque, uint32_t shared, int32_t rank, uint32_t *bytes) {
    need_sm90(*running(), "cp.async.bulk.tensor");
    TensorMap map;
    if (reinterpret_cast<uintptr_t>(opaque) % 64 != 0)
        fault("cp.async.bulk.tensor with a tensor map at %p, which is no multiple of 64",
              static_cast<const void *>(opaque));
    __builtin_memcpy(&map, opaque, sizeof map);
    if (map.mark != TensorMap::MARK)
        fault("cp.async.bulk.tensor with a tensor map that was never written");
    if (map.rank != rank)
        fault("cp.async.bulk.tensor.%dd with a tensor map of rank %d", rank, map.rank);
    /* A swizzle goes by the address: rows 0 to 7 of a box are to be where its pattern begins. */
    const uint32_t alignment = map.swizzle == 0 ? 128u : map.swizzle * 8u;
    if (shared % alignment != 0)
        fault("cp.async.bulk.tensor with shared address 0x%x, which is no multiple of %u", shared, alignment);
    *bytes = map.element_bytes;
    for (int32_t d = 0; d < rank; d++)
        *bytes *= map.box[d];
    return map;
}

void tensor_load(uint32_t to, const krn_cuda_tensor_map *opaque, uint32_t mbarrier, int32_t rank, Coordinates box) {
    uint32_t bytes;
    const TensorMap map = map_of(opaque, to, rank, &bytes);
    begin_load(Transfer{to, bytes, mbarrier, true, nullptr, map, box});
}

static void begin_store(Thread &self, uint32_t from, uint32_t bytes) {
    Block &block = *self.block;
    block.shared.check_range("cp.async.bulk", from, bytes, 16);
    check_proxy(block, "cp.async.bulk", self.place.thread, from, bytes);
    block.shared.access_block("cp.async.bulk", from, bytes, SharedMemory::Kind::READ, block.actor_of(self));
    block.shared.set_reading(from, bytes, true);
    self.stores.push_back(AsyncCopy{from, bytes, self.next_store_group});
}

void bulk_store(void *to, uint32_t from, int32_t bytes) {
    Thread &self = *running();
    check_bulk(self, from, to, bytes);
    begin_store(self, from, static_cast<uint32_t>(bytes));
    __builtin_memcpy(self.block->launch->memory->find(to, static_cast<uint64_t>(bytes)), self.block->shared.at(from),
                     static_cast<uint32_t>(bytes));
}

void tensor_store(const krn_cuda_tensor_map *opaque, uint32_t from, int32_t rank, Coordinates box) {
    Thread &self = *running();
    uint32_t bytes;
    const TensorMap map = map_of(opaque, from, rank, &bytes);
    begin_store(self, from, bytes);
    move_box(*self.block, map, box, from, false);
}

void bulk_commit() { running()->next_store_group++; }

void bulk_wait(int32_t pending) {
    Thread &self = *running();
    size_t done = 0;
    for (;
         done < self.stores.size() && self.stores[done].group + static_cast<uint32_t>(pending) < self.next_store_group;
         done++)
        self.block->shared.set_reading(self.stores[done].address, self.stores[done].bytes, false);
    self.stores.erase(self.stores.begin(), self.stores.begin() + static_cast<std::ptrdiff_t>(done));
}

void fence_proxy_async() {
    Thread &self = *running();
    self.block->clocks.fence(self.place.thread);
}

} // namespace emulator
