#include <algorithm>

#include "diffract/kernels/cuda/launch.h"
#include "diffract/kernels/cuda/types.cuh"

namespace diffract::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kFewChunks = 32;  // that every block of the last launch joins by itself

// Pixels are cut into chunks of equal size (the last may be smaller); each gives mean and squared deviations
// a group.
struct Chunks {
  int64_t count, pixels;  // of a picture; of a chunk
};

Chunks chunks_of(const GroupNormLaunch& l) {
  const int64_t elements = l.pixels * l.channels;
  // About 64 KiB of 2-byte elements a chunk, as many as keep all multiprocessors busy.
  int64_t wanted = std::clamp<int64_t>(elements / 32768, 1, 1024);
  if (wanted > kFewChunks && wanted < 128) wanted = kFewChunks;
  const int64_t pixels = (l.pixels + wanted - 1) / wanted;
  return {.count = (l.pixels + pixels - 1) / pixels, .pixels = pixels};
}

struct Moments {
  float count, mean, squares;  // squares: of the deviations from the mean
};

__device__ Moments join(const Moments& a, const Moments& b) {
  const float count = a.count + b.count;
  if (count == 0) return a;
  const float delta = b.mean - a.mean, share = b.count / count;
  return {count, a.mean + delta * share, a.squares + b.squares + delta * delta * a.count * share};
}

__device__ float chunk_count(int64_t chunk, int64_t chunk_pixels, int64_t pixels, int64_t group_channels) {
  return static_cast<float>(min(chunk_pixels, pixels - chunk * chunk_pixels) * group_channels);
}

// Threads that share a pixel, and pixels that a block reads at once.
struct Lanes {
  int packs, pixels;
  __host__ __device__ explicit Lanes(int packs_a_pixel)
      : packs(packs_a_pixel), pixels(packs_a_pixel < kThreads ? kThreads / packs_a_pixel : 1) {}
};

// One block a chunk. Each thread sums its channels over some pixels in registers; the sums of the threads are
// joined in a fixed order, so that the result is the same each time.
// shared: 2 * pixels at once * channels floats
template <typename T, int N>
__global__ void __launch_bounds__(kThreads) moments_kernel(GroupNormLaunch l, Chunks chunks) {
  extern __shared__ float shared[];
  const int channels = static_cast<int>(l.channels);
  const Lanes lanes(channels / N);
  float *sums = shared, *squares = shared + lanes.pixels * channels;
  const int64_t batch = blockIdx.y, begin = blockIdx.x * chunks.pixels,
                end = min(begin + chunks.pixels, l.pixels);
  const T* x = static_cast<const T*>(l.x) + batch * l.pixels * channels;
  const T* addend = l.addend ? static_cast<const T*>(l.addend) + batch * channels : nullptr;
  const int lane = static_cast<int>(threadIdx.x) / lanes.packs;
  for (int pack = static_cast<int>(threadIdx.x) % lanes.packs; pack < lanes.packs && lane < lanes.pixels;
       pack += kThreads) {
    float sum[N], square[N], pivot[N];
#pragma unroll
    for (int i = 0; i < N; ++i) {
      // Deviations from one of the values, so that a large mean costs no digits.
      pivot[i] = to_float(x[begin * channels + pack * N + i]);
      sum[i] = square[i] = 0;
    }
#pragma unroll 4
    for (int64_t pixel = begin + lane; pixel < end; pixel += lanes.pixels) {
      const auto values = load<T, N>(x + pixel * channels + pack * N);
#pragma unroll
      for (int i = 0; i < N; ++i) {
        const float value = to_float(values.at[i]) - pivot[i];
        sum[i] += value;
        square[i] += value * value;
      }
    }
#pragma unroll
    for (int i = 0; i < N; ++i) {
      sums[lane * channels + pack * N + i] = sum[i];
      squares[lane * channels + pack * N + i] = square[i];
    }
  }
  __syncthreads();
  for (int c = static_cast<int>(threadIdx.x); c < channels; c += kThreads)
    for (int other = 1; other < lanes.pixels; ++other) {
      sums[c] += sums[other * channels + c];
      squares[c] += squares[other * channels + c];
    }
  __syncthreads();
  const int group_channels = channels / static_cast<int>(l.groups);
  const auto pixels = static_cast<float>(end - begin);
  for (int group = static_cast<int>(threadIdx.x); group < l.groups; group += kThreads) {
    Moments all{0, 0, 0};
    for (int c = group * group_channels; c < (group + 1) * group_channels; ++c) {
      const float mean = sums[c] / pixels;  // of the deviations
      const float base = to_float(x[begin * channels + c]) + (addend ? to_float(addend[c]) : 0.0f);
      all = join(all, {pixels, base + mean, max(squares[c] - sums[c] * mean, 0.0f)});
    }
    float* partial = l.partials + 2 * ((batch * chunks.count + blockIdx.x) * l.groups + group);
    partial[0] = all.mean;
    partial[1] = all.squares;
  }
}

__device__ Moments joined(const float* partials, const GroupNormLaunch& l, const Chunks& chunks, int64_t batch,
                          int group, int lane) {
  Moments all{0, 0, 0};
  for (int64_t chunk = lane; chunk < chunks.count; chunk += 32) {
    const float* partial = partials + 2 * ((batch * chunks.count + chunk) * l.groups + group);
    all = join(all, {chunk_count(chunk, chunks.pixels, l.pixels, l.channels / l.groups), partial[0], partial[1]});
  }
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2)
    all = join(all, {__shfl_xor_sync(0xffffffffu, all.count, offset), __shfl_xor_sync(0xffffffffu, all.mean, offset),
                     __shfl_xor_sync(0xffffffffu, all.squares, offset)});
  return all;
}

// Many chunks to one: a warp a group.
__global__ void join_kernel(GroupNormLaunch l, Chunks chunks, float* out) {
  const int group = static_cast<int>(blockIdx.x);
  const Moments all = joined(l.partials, l, chunks, blockIdx.y, group, static_cast<int>(threadIdx.x));
  if (threadIdx.x != 0) return;
  out[2 * (blockIdx.y * l.groups + group)] = all.mean;
  out[2 * (blockIdx.y * l.groups + group) + 1] = all.squares;
}

// shared: 2 * groups floats (mean, deviation's reciprocal)
template <typename T, int N>
__global__ void __launch_bounds__(kThreads) apply_kernel(GroupNormLaunch l, Chunks chunks, const float* partials) {
  extern __shared__ float groups[];
  const int64_t batch = blockIdx.y;
  for (int group = threadIdx.x / 32; group < l.groups; group += kThreads / 32) {
    const Moments all = joined(partials, l, chunks, batch, group, static_cast<int>(threadIdx.x % 32));
    if (threadIdx.x % 32 == 0) {
      groups[2 * group] = all.mean;
      groups[2 * group + 1] = rsqrtf(all.squares / all.count + l.eps);
    }
  }
  __syncthreads();
  const int channels = static_cast<int>(l.channels);
  const Lanes lanes(channels / N);
  const int group_channels = channels / static_cast<int>(l.groups);
  const T* x = static_cast<const T*>(l.x) + batch * l.pixels * channels;
  T* out = static_cast<T*>(l.out) + batch * l.pixels * channels;
  const T* addend = l.addend ? static_cast<const T*>(l.addend) + batch * channels : nullptr;
  const T *weight = static_cast<const T*>(l.weight), *bias = static_cast<const T*>(l.bias);
  const int lane = static_cast<int>(threadIdx.x) / lanes.packs;
  const int64_t pixels_a_block = (l.pixels + gridDim.x - 1) / gridDim.x;
  const int64_t begin = blockIdx.x * pixels_a_block, end = min(begin + pixels_a_block, l.pixels);
  for (int pack = static_cast<int>(threadIdx.x) % lanes.packs; pack < lanes.packs && lane < lanes.pixels;
       pack += kThreads) {
    float scale[N], shift[N];
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const int c = pack * N + i, group = c / group_channels;
      scale[i] = groups[2 * group + 1] * to_float(weight[c]);
      const float add = addend ? to_float(addend[c]) : 0.0f;
      shift[i] = to_float(bias[c]) + (add - groups[2 * group]) * scale[i];
    }
#pragma unroll 4
    for (int64_t pixel = begin + lane; pixel < end; pixel += lanes.pixels) {
      auto values = load<T, N>(x + pixel * channels + pack * N);
#pragma unroll
      for (int i = 0; i < N; ++i) {
        const float value = to_float(values.at[i]) * scale[i] + shift[i];
        values.at[i] = from_float<T>(l.silu ? silu(value) : value);
      }
      store<T, N>(out + pixel * channels + pack * N, values);
    }
  }
}

template <typename T, int N>
cudaError_t run(const GroupNormLaunch& l, cudaStream_t stream) {
  Chunks chunks = chunks_of(l);
  const Lanes lanes(static_cast<int>(l.channels / N));
  const auto batch = static_cast<unsigned>(l.batch);
  moments_kernel<T, N><<<dim3(static_cast<unsigned>(chunks.count), batch), kThreads,
                         static_cast<size_t>(2 * lanes.pixels * l.channels) * sizeof(float), stream>>>(l, chunks);
  const float* partials = l.partials;
  if (chunks.count > kFewChunks) {
    float* joined = l.partials + 2 * l.batch * chunks.count * l.groups;
    join_kernel<<<dim3(static_cast<unsigned>(l.groups), batch), 32, 0, stream>>>(l, chunks, joined);
    partials = joined;
    chunks = {.count = 1, .pixels = l.pixels};
  }
  // A few pixels a thread, so that what a block does at its beginning is spread.
  const int64_t blocks = std::clamp<int64_t>(l.pixels / (lanes.pixels * 4), 1, 2048);
  apply_kernel<T, N><<<dim3(static_cast<unsigned>(blocks), batch), kThreads,
                       static_cast<size_t>(2 * l.groups) * sizeof(float), stream>>>(l, chunks, partials);
  return cudaGetLastError();
}

}  // namespace

int64_t group_norm_scratch(const GroupNormLaunch& l) {
  return 2 * l.batch * l.groups * (chunks_of(l).count + 1);
}

cudaError_t group_norm(const GroupNormLaunch& l, cudaStream_t stream) {
  cudaError_t result = cudaSuccess;
  with_type(l.type, [&](auto value) {
    using T = decltype(value);
    constexpr int kWide = 16 / sizeof(T);
    result = l.channels % kWide == 0 ? run<T, kWide>(l, stream) : run<T, 1>(l, stream);
  });
  return result;
}

}  // namespace diffract::kernels::cuda
