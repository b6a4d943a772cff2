#include <cooperative_groups.h>

#include <algorithm>

#include "diffract/kernels/cuda/launch.h"
#include "diffract/kernels/cuda/types.cuh"

// GroupNorm in one launch that reads the map once: the blocks of a cluster divide the pixels of a few groups
// among them, keep them in shared memory, and give each other their moments.
namespace diffract::kernels::cuda {
namespace {

namespace cg = cooperative_groups;

constexpr int kMostThreads = 384;  // so that several blocks share a multiprocessor
constexpr int kMostBlocks = 8;     // of a cluster, on every GPU that has them
constexpr int kMostGroups = 32;    // of a cluster
constexpr int64_t kEnoughBlocks = 128;
constexpr int64_t kEnoughBytes = 64;         // of a pixel's neighbours that a block reads
constexpr int64_t kComfortable = 100 << 10;  // of shared memory: two blocks a multiprocessor
constexpr int64_t kMostShared = 200 << 10;

// What a cluster takes: `groups` of the map; each of its `blocks` `pixels` of them.
struct Slice {
  int groups, blocks;
  int64_t pixels;
  int width, lanes;  // channels; pixels that a block reads at once
  int64_t kept_bytes, shared_bytes;
};

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// No groups: the map does not fit.
template <typename T, int N>
Slice slice_of(const GroupNormLaunch& l) {
  const int64_t group_channels = l.channels / l.groups;
  Slice s{};
  for (int64_t groups = 1; groups <= std::min<int64_t>(l.groups, kMostGroups); ++groups) {
    const int64_t width = groups * group_channels;
    if (l.groups % groups != 0 || width % N != 0 || width / N > kMostThreads) continue;
    s.groups = static_cast<int>(groups);
    s.width = static_cast<int>(width);
    if (width * static_cast<int64_t>(sizeof(T)) >= kEnoughBytes) break;
  }
  if (s.groups == 0) return s;
  const auto set_blocks = [&](int blocks) {
    s.blocks = blocks;
    s.pixels = ceil_div(l.pixels, blocks);
    // A power of two, so that it mostly divides the pixels and no round is left for a few.
    s.lanes = 1;
    while (2 * s.lanes * (s.width / N) <= kMostThreads && s.lanes < s.pixels) s.lanes *= 2;
    s.kept_bytes = ceil_div(s.pixels * s.width * static_cast<int64_t>(sizeof(T)), 16) * 16;
    s.shared_bytes = s.kept_bytes + 2 * s.lanes * s.width * static_cast<int64_t>(sizeof(float));
  };
  const int64_t clusters = l.batch * (l.groups / s.groups);
  for (int blocks = 1; blocks <= kMostBlocks; blocks *= 2) {
    if (blocks > 1 && (blocks - 1) * ceil_div(l.pixels, blocks) >= l.pixels) break;  // one would have none
    set_blocks(blocks);
    if (s.shared_bytes <= kComfortable && (clusters * blocks >= kEnoughBlocks || s.pixels < 2 * s.lanes))
      break;
  }
  if (s.shared_bytes > kMostShared || l.batch > 65535 || l.groups / s.groups > 65535) s.groups = 0;
  return s;
}

// The sum over the threads that stand for a cluster's blocks.
__device__ float over_blocks(float x) {
#pragma unroll
  for (int offset = kMostBlocks / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffu, x, offset);
  return x;
}

template <typename T, int N>
__global__ void __launch_bounds__(kMostThreads) cluster_kernel(GroupNormLaunch l, Slice s) {
#if __CUDA_ARCH__ >= 900
  extern __shared__ __align__(16) unsigned char memory[];
  __shared__ float partial[2 * kMostGroups];  // mean, squares of the deviations from it: of this block
  __shared__ float whole[2 * kMostGroups];    // mean, deviation's reciprocal: of all pixels
  T* kept = reinterpret_cast<T*>(memory);     // [pixels, width]
  float* sums = reinterpret_cast<float*>(memory + s.kept_bytes);  // [lanes, width]
  float* squares = sums + s.lanes * s.width;
  const auto cluster = cg::this_cluster();
  const int64_t batch = blockIdx.z, first = static_cast<int64_t>(blockIdx.y) * s.width;
  const int64_t begin = blockIdx.x * s.pixels, own = min(s.pixels, l.pixels - begin);
  const int group_channels = static_cast<int>(l.channels / l.groups), columns = s.width / N;
  const T* x = static_cast<const T*>(l.x) + (batch * l.pixels + begin) * l.channels + first;
  T* out = static_cast<T*>(l.out) + (batch * l.pixels + begin) * l.channels + first;
  const T* addend = l.addend ? static_cast<const T*>(l.addend) + batch * l.channels + first : nullptr;
  const int lane = static_cast<int>(threadIdx.x) / columns, c0 = static_cast<int>(threadIdx.x) % columns * N;
  const bool takes_part = lane < s.lanes;

  if (takes_part) {
    float sum[N], square[N], base[N];
#pragma unroll
    for (int i = 0; i < N; ++i) {
      // Deviations from one of the group's values, so that a large mean costs no digits.
      const int c = c0 + i;
      base[i] = to_float(x[c / group_channels * group_channels]) - (addend ? to_float(addend[c]) : 0.0f);
      sum[i] = square[i] = 0;
    }
#pragma unroll 4
    for (int64_t pixel = lane; pixel < own; pixel += s.lanes) {
      const auto values = load<T, N>(x + pixel * l.channels + c0);
      store<T, N>(kept + pixel * s.width + c0, values);
#pragma unroll
      for (int i = 0; i < N; ++i) {
        const float value = to_float(values.at[i]) - base[i];
        sum[i] += value;
        square[i] += value * value;
      }
    }
#pragma unroll
    for (int i = 0; i < N; ++i) {
      sums[lane * s.width + c0 + i] = sum[i];
      squares[lane * s.width + c0 + i] = square[i];
    }
  }
  __syncthreads();

  // All threads add up what they can in parallel, each its own part of the lanes of a channel.
  const int threads = static_cast<int>(blockDim.x);
  const int parts = min(max(threads / (2 * s.width), 1), s.lanes);
  for (int i = static_cast<int>(threadIdx.x); i < 2 * s.width * parts; i += threads) {
    const int part = i / (2 * s.width), c = i % (2 * s.width);
    float* of_channel = c < s.width ? sums + c : squares + c - s.width;
    float total = 0;
#pragma unroll 4
    for (int l = part; l < s.lanes; l += parts) total += of_channel[l * s.width];
    of_channel[part * s.width] = total;
  }
  __syncthreads();

  const int warp_lane = static_cast<int>(threadIdx.x) % 32;
  for (int group = static_cast<int>(threadIdx.x) / 32; group < s.groups; group += threads / 32) {
    float sum = 0, square = 0;
    for (int i = warp_lane; i < parts * group_channels; i += 32) {
      const int at = i / group_channels * s.width + group * group_channels + i % group_channels;
      sum += sums[at];
      square += squares[at];
    }
    sum = warp_sum(sum);
    square = warp_sum(square);
    if (warp_lane == 0) {
      const float mean = sum / static_cast<float>(own * group_channels);  // of the deviations
      partial[2 * group] = to_float(x[group * group_channels]) + mean;
      partial[2 * group + 1] = fmaxf(square - sum * mean, 0.0f);
    }
  }
  const auto synchronize = [&] {
    if (s.blocks > 1)
      cluster.sync();
    else
      __syncthreads();
  };
  synchronize();

  // Eight threads a group, one for each block, so that other blocks' memory is waited for once.
  const int of_block = static_cast<int>(threadIdx.x) % kMostBlocks;
  for (int first = 0; first < s.groups; first += threads / kMostBlocks) {
    const int group = first + static_cast<int>(threadIdx.x) / kMostBlocks;
    float mean = 0, all = 0, pixels = 0;
    if (group < s.groups && of_block < s.blocks) {
      const float* other = s.blocks > 1 ? cluster.map_shared_rank(partial, of_block) : partial;
      mean = other[2 * group];
      all = other[2 * group + 1];
      pixels = static_cast<float>(min(s.pixels, l.pixels - of_block * s.pixels));
    }
    const float whole_mean = over_blocks(mean * (pixels / static_cast<float>(l.pixels)));
    const float off = mean - whole_mean;
    all = over_blocks(all + off * off * pixels * static_cast<float>(group_channels));
    if (group < s.groups && of_block == 0) {
      whole[2 * group] = whole_mean;
      whole[2 * group + 1] =
          rsqrtf(all / (static_cast<float>(l.pixels) * static_cast<float>(group_channels)) + l.eps);
    }
  }
  synchronize();  // nobody leaves while others read its moments

  if (!takes_part) return;
  float scale[N], shift[N];
  const auto weights = load<T, N>(static_cast<const T*>(l.weight) + first + c0);
  const auto biases = load<T, N>(static_cast<const T*>(l.bias) + first + c0);
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const int group = (c0 + i) / group_channels;
    scale[i] = whole[2 * group + 1] * to_float(weights.at[i]);
    const float add = addend ? to_float(addend[c0 + i]) : 0.0f;
    shift[i] = to_float(biases.at[i]) + (add - whole[2 * group]) * scale[i];
  }
#pragma unroll 4
  for (int64_t pixel = lane; pixel < own; pixel += s.lanes) {  // what this thread has kept itself
    auto values = load<T, N>(kept + pixel * s.width + c0);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const float value = to_float(values.at[i]) * scale[i] + shift[i];
      values.at[i] = from_float<T>(l.silu ? silu(value) : value);
    }
    store<T, N>(out + pixel * l.channels + c0, values);
  }
#endif
}

template <typename T, int N>
cudaError_t run(const GroupNormLaunch& l, const Slice& s, cudaStream_t stream) {
  const auto allowed = cudaFuncSetAttribute(cluster_kernel<T, N>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                            static_cast<int>(kMostShared));
  if (allowed != cudaSuccess) return allowed;
  cudaLaunchAttribute cluster{};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim = {static_cast<unsigned>(s.blocks), 1, 1};
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(s.blocks), static_cast<unsigned>(l.groups / s.groups),
                        static_cast<unsigned>(l.batch));
  config.blockDim = dim3(static_cast<unsigned>(ceil_div(s.lanes * (s.width / N), 32) * 32));
  config.dynamicSmemBytes = static_cast<size_t>(s.shared_bytes);
  config.stream = stream;
  config.attrs = &cluster;
  config.numAttrs = 1;
  return cudaLaunchKernelEx(&config, cluster_kernel<T, N>, l, s);
}

bool has_clusters() {
  int device = 0, major = 0;
  return cudaGetDevice(&device) == cudaSuccess &&
         cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess &&
         major >= 9;
}

}  // namespace

bool group_norm_in_one_launch(const GroupNormLaunch& l, cudaStream_t stream, cudaError_t& result) {
  if (!has_clusters()) return false;
  bool fits = false;
  with_type(l.type, [&](auto value) {
    using T = decltype(value);
    const auto try_packs = [&]<int N>() {
      const Slice s = slice_of<T, N>(l);
      fits = s.groups > 0;
      if (fits) result = run<T, N>(l, s, stream);
    };
    if (l.channels % (16 / sizeof(T)) == 0)
      try_packs.template operator()<16 / sizeof(T)>();
    else
      try_packs.template operator()<1>();
  });
  return fits;
}

}  // namespace diffract::kernels::cuda
