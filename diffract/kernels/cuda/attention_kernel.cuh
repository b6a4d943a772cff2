// Attention for Hopper, heads 128 wide. A block has 128 queries of a head at a time. One thread of its first
// warpgroup has the copy engine bring keys and values, tile by tile; two warpgroups of 64 queries each take
// turns: one's products run while the other makes weights of scores. Within a warpgroup the next tile's
// scores are under way, too, while this tile's weights are multiplied with its values.
//
// Weights are exp(score - reference). The reference is the row's largest score of the first tile, and is only
// raised when a tile's weights come out large: until then all weights of a row have one more factor in
// common, which the division by their sum takes out again and which float32, and T within limits, hold as
// precisely. So no tile waits for its maximum before its exponentials, and outputs are hardly ever scaled.
#pragma once
#include "diffract/kernels/cuda/attention_rows.cuh"
#include "diffract/kernels/cuda/hopper.cuh"
#include "diffract/kernels/cuda/launch.h"

namespace diffract::kernels::cuda::hopper {

constexpr int kWidth = kHopperHeadWidth;
constexpr int kQueries = 128;  // of a block
constexpr int kKeys = 144;     // of a tile: as many as leave registers for scores beside two tiles' weights
constexpr int kStages = 2;     // tiles of keys, and of values, in shared memory
constexpr int kConsumers = 2;
constexpr int kThreads = 128 * (1 + kConsumers);
constexpr int kRowBytes = 128;  // half a row: as wide as the swizzle goes, so that a tile is two boxes
constexpr int kQueryBytes = kQueries * kWidth * 2;
constexpr int kTileBytes = kKeys * kWidth * 2;

// Offsets in shared memory.
constexpr int kKeysAt = kQueryBytes;
constexpr int kValuesAt = kKeysAt + kStages * kTileBytes;
constexpr int kBarriersAt = kValuesAt + kStages * kTileBytes;
constexpr int kAlignment = 1024;  // of a swizzled tile
constexpr int kSharedBytes = kBarriersAt + 8 * (2 + 4 * kStages) + kAlignment;

struct Sizes {
  int queries, keys, heads;
  int query_tiles, key_tiles, tiles;                            // tiles: of queries, of all heads and batches
  int64_t out_batch_stride, out_head_stride, out_token_stride;  // in elements
  float scale;                                                  // times log2(e)
};

// Barriers: one side's "full", the other's "empty".
struct Barriers {
  uint32_t base;
  __device__ uint32_t queries_full() const { return base; }
  __device__ uint32_t queries_empty() const { return base + 8; }
  __device__ uint32_t keys_full(int stage) const { return base + 16 + 8 * stage; }
  __device__ uint32_t keys_empty(int stage) const { return base + 16 + 8 * (kStages + stage); }
  __device__ uint32_t values_full(int stage) const { return base + 16 + 8 * (2 * kStages + stage); }
  __device__ uint32_t values_empty(int stage) const { return base + 16 + 8 * (3 * kStages + stage); }
};

struct Ring {
  int stage = 0;
  uint32_t parity = 0;
  __device__ __forceinline__ void next() {
    if (++stage == kStages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

// The last keys come first: they alone may need a mask, which is then outside the loop.
__device__ __forceinline__ void produce(const CUtensorMap* q, const CUtensorMap* k, const CUtensorMap* v,
                                        const Sizes& l, uint32_t shared) {
  const Barriers barriers{shared + kBarriersAt};
  Ring keys, values;
  uint32_t queries_parity = 0;
  for (int tile = blockIdx.x; tile < l.tiles; tile += gridDim.x) {
    const int head = tile / l.query_tiles % l.heads, batch = tile / l.query_tiles / l.heads;
    const auto load = [&](const CUtensorMap* map, uint32_t full, uint32_t to, int token) {
      barrier_expect(full, kTileBytes);
      load_box(to, map, full, 0, head, token, batch);
      load_box(to + kTileBytes / 2, map, full, kWidth / 2, head, token, batch);
    };
    const auto load_keys = [&](int i) {
      barrier_wait(barriers.keys_empty(keys.stage), keys.parity ^ 1);
      load(k, barriers.keys_full(keys.stage), shared + kKeysAt + keys.stage * kTileBytes, i * kKeys);
      keys.next();
    };
    const auto load_values = [&](int i) {
      barrier_wait(barriers.values_empty(values.stage), values.parity ^ 1);
      load(v, barriers.values_full(values.stage), shared + kValuesAt + values.stage * kTileBytes, i * kKeys);
      values.next();
    };
    const int token = tile % l.query_tiles * kQueries;
    barrier_wait(barriers.queries_empty(), queries_parity ^ 1);
    barrier_expect(barriers.queries_full(), kQueryBytes);
    load_box(shared, q, barriers.queries_full(), 0, head, token, batch);
    load_box(shared + kQueryBytes / 2, q, barriers.queries_full(), kWidth / 2, head, token, batch);
    queries_parity ^= 1;
    load_keys(l.key_tiles - 1);
    for (int i = l.key_tiles - 1; i > 0; --i) {
      load_keys(i - 1);
      load_values(i);
    }
    load_values(0);
  }
}

constexpr int kScores = kKeys / 2, kWeights = kKeys / 4, kOutputs = kWidth / 2;  // of a thread, in registers

template <typename T>
__device__ __forceinline__ void consume(const Sizes& l, T* out, uint32_t shared) {
  const Barriers barriers{shared + kBarriersAt};
  // Said to be the same for the warp, so that descriptors stay in the registers that products want them in.
  const int group = __shfl_sync(0xffffffffu, static_cast<int>(threadIdx.x) / 128 - 1, 0);
  const int lane = threadIdx.x % 32;
  float scores[kScores], outputs[kOutputs];
  uint32_t weights[kWeights],
      next_weights[kWeights];  // of the tile being multiplied, and of the one after it
  Ring keys, values;
  uint32_t queries_parity = 0;
  const uint64_t q = descriptor(shared + group * 64 * kRowBytes, 16, 8 * kRowBytes);
  const uint64_t first_k = descriptor(shared + kKeysAt, 16, 8 * kRowBytes);
  const uint64_t first_v = descriptor(shared + kValuesAt, kTileBytes / 2, 8 * kRowBytes);

  const auto begin_scores = [&] {
    const uint64_t k = moved(first_k, keys.stage * kTileBytes);
#pragma unroll
    for (int i = 0; i < kWidth / 16; ++i)
      product(scores, moved(q, i / 4 * (kQueryBytes / 2) + i % 4 * 32),
              moved(k, i / 4 * (kTileBytes / 2) + i % 4 * 32), i > 0, T{});
    products_commit();
  };
  const auto begin_outputs = [&](const uint32_t(&w)[kWeights]) {
    const uint64_t v = moved(first_v, values.stage * kTileBytes);
#pragma unroll
    for (int i = 0; i < kKeys / 16; ++i)
      product(outputs, w[4 * i], w[4 * i + 1], w[4 * i + 2], w[4 * i + 3], moved(v, i * 16 * kRowBytes), T{});
    products_commit();
  };
  const auto release = [&](uint32_t barrier) {
    if (lane == 0) barrier_arrive(barrier);
  };
  const auto release_keys = [&](bool are_last) {
    release(barriers.keys_empty(keys.stage));
    keys.next();
    if (are_last) release(barriers.queries_empty());
  };
  const auto release_values = [&] {
    release(barriers.values_empty(values.stage));
    values.next();
  };

  if (group == 1) named_arrive(1, 128 * kConsumers);  // the first turn is group 0's
  for (int tile = blockIdx.x; tile < l.tiles; tile += gridDim.x) {
    Rows rows;
#pragma unroll
    for (int i = 0; i < kOutputs; ++i) outputs[i] = 0;
    barrier_wait(barriers.queries_full(), queries_parity);
    queries_parity ^= 1;
    barrier_wait(barriers.keys_full(keys.stage), keys.parity);
    pin(scores), pin(outputs);
    products_begin();
    begin_scores();
    products_wait<0>();
    pin(scores);
    release_keys(l.key_tiles == 1);
    const int keys_left = l.keys - (l.key_tiles - 1) * kKeys - lane % 4 * 2;
#pragma unroll
    for (int i = 0; i < kScores; ++i)
      if (i / 4 * 8 + i % 2 >= keys_left) scores[i] = -INFINITY;
    raise_reference(scores, rows);
    weigh<T>(scores, weights, rows, l.scale, rows.sum);

    int tiles_left = l.key_tiles - 1;
    const auto step = [&](uint32_t(&now)[kWeights], uint32_t(&next)[kWeights]) {
      barrier_wait(barriers.keys_full(keys.stage), keys.parity);
      named_sync(1 + group, 128 * kConsumers);
      pin(scores), pin(outputs), pin(now);
      products_begin();
      begin_scores();
      barrier_wait(barriers.values_full(values.stage), values.parity);
      products_begin();
      begin_outputs(now);
      named_arrive(2 - group, 128 * kConsumers);
      products_wait<1>();
      pin(scores);
      release_keys(--tiles_left == 0);
      const bool raised = weigh_or_raise<T>(scores, next, rows, l.scale);
      products_wait<0>();
      pin(outputs), pin(now);
      release_values();
      if (__builtin_expect(raised, 0)) {
#pragma unroll
        for (int i = 0; i < kOutputs; ++i) outputs[i] *= rows.change[i / 2 % 2];
      }
    };
    // In twos, so that weights need not be moved from one array to the other.
    if (tiles_left % 2 != 0) {
      step(weights, next_weights);
      copy_here(next_weights, weights);
    }
#pragma unroll 1
    for (int pairs = tiles_left / 2; pairs > 0; --pairs) {
      step(weights, next_weights);
      step(next_weights, weights);
    }
    barrier_wait(barriers.values_full(values.stage), values.parity);
    pin(outputs), pin(weights);
    products_begin();
    begin_outputs(weights);
    products_wait<0>();
    pin(outputs), pin(weights);
    release_values();

    const int head = tile / l.query_tiles % l.heads, batch = tile / l.query_tiles / l.heads;
    const int row = tile % l.query_tiles * kQueries + group * 64 + threadIdx.x % 128 / 32 * 16 + lane / 4;
    store_rows(outputs, rows,
               out + batch * l.out_batch_stride + head * l.out_head_stride + row * l.out_token_stride,
               l.out_token_stride, l.queries - row);
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads, 1)
    attention_kernel(const __grid_constant__ CUtensorMap q, const __grid_constant__ CUtensorMap k,
                     const __grid_constant__ CUtensorMap v, const __grid_constant__ Sizes sizes, T* out) {
  extern __shared__ uint8_t raw[];
  const uint32_t shared = (shared_address(raw) + kAlignment - 1) / kAlignment * kAlignment;
  if (threadIdx.x == 0) {
    constexpr int kWarps = 4 * kConsumers;  // each says on its own that it has read
    const Barriers barriers{shared + kBarriersAt};
    barrier_init(barriers.queries_full(), 1);
    barrier_init(barriers.queries_empty(), kWarps);
    for (int stage = 0; stage < kStages; ++stage) {
      barrier_init(barriers.keys_full(stage), 1);
      barrier_init(barriers.keys_empty(stage), kWarps);
      barrier_init(barriers.values_full(stage), 1);
      barrier_init(barriers.values_empty(stage), kWarps);
    }
    barriers_are_there();
  }
  __syncthreads();
  if (threadIdx.x < 128) {
    give_registers<24>();
    if (threadIdx.x == 0) produce(&q, &k, &v, sizes, shared);
  } else {
    take_registers<240>();
    consume(sizes, out, shared);
  }
}

}  // namespace diffract::kernels::cuda::hopper
