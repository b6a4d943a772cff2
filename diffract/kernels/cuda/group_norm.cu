#include <algorithm>

#include "diffract/kernels/cuda/launch.h"
#include "diffract/kernels/cuda/types.cuh"

namespace diffract::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kFewChunks = 64;  // that every block of the last launch joins by itself

// Pixels are cut into chunks of equal size (the last may be smaller); each gives mean and squared deviations
// a group.
struct Chunks {
  int64_t count, pixels;  // of a picture; of a chunk
};

Chunks chunks_of(const GroupNormLaunch& l) {
  // At least 16 KiB of 2-byte elements a chunk, as many as keep all multiprocessors busy.
  int64_t wanted = std::clamp<int64_t>(l.pixels * l.channels / 8192, 1, 1024);
  if (wanted > kFewChunks && wanted * l.batch < 2048) wanted = kFewChunks;
  const int64_t pixels = (l.pixels + wanted - 1) / wanted;
  return {.count = (l.pixels + pixels - 1) / pixels, .pixels = pixels};
}

constexpr int kGroupThreads = 8;  // that sum a group together

__device__ float group_sum(float x) {
#pragma unroll
  for (int offset = kGroupThreads / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffu, x, offset);
  return x;
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
  const int channels = static_cast<int>(l.channels), group_channels = channels / static_cast<int>(l.groups);
  const Lanes lanes(channels / N);
  float *sums = shared, *squares = shared + lanes.pixels * channels;
  const int64_t batch = blockIdx.y, begin = blockIdx.x * chunks.pixels,
                end = min(begin + chunks.pixels, l.pixels);
  const T* x = static_cast<const T*>(l.x) + batch * l.pixels * channels;
  const T* addend = l.addend ? static_cast<const T*>(l.addend) + batch * channels : nullptr;
  const int lane = static_cast<int>(threadIdx.x) / lanes.packs;
  for (int pack = static_cast<int>(threadIdx.x) % lanes.packs; pack < lanes.packs && lane < lanes.pixels;
       pack += kThreads) {
    float sum[N], square[N], base[N];
#pragma unroll
    for (int i = 0; i < N; ++i) {
      // Deviations from one of the group's values, so that a large mean costs no digits.
      const int c = pack * N + i, first = c / group_channels * group_channels;
      base[i] = to_float(x[begin * channels + first]) - (addend ? to_float(addend[c]) : 0.0f);
      sum[i] = square[i] = 0;
    }
#pragma unroll 4
    for (int64_t pixel = begin + lane; pixel < end; pixel += lanes.pixels) {
      const auto values = load<T, N>(x + pixel * channels + pack * N);
#pragma unroll
      for (int i = 0; i < N; ++i) {
        const float value = to_float(values.at[i]) - base[i];
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
  // Eight threads a group.
  const auto count = static_cast<float>((end - begin) * group_channels);
  const int groups = static_cast<int>(l.groups);
  for (int first = 0; first < groups; first += kThreads / kGroupThreads) {
    const int group = first + static_cast<int>(threadIdx.x) / kGroupThreads;
    const int member = static_cast<int>(threadIdx.x) % kGroupThreads;
    float sum = 0, square = 0;
    if (group < groups)
      for (int c = group * group_channels + member; c < (group + 1) * group_channels; c += kGroupThreads) {
        sum += sums[c];
        square += squares[c];
      }
    sum = group_sum(sum);
    square = group_sum(square);
    if (group < groups && member == 0) {
      const float mean = sum / count;  // of the deviations
      float* partial = l.partials + 2 * ((batch * chunks.count + blockIdx.x) * groups + group);
      partial[0] = to_float(x[begin * channels + group * group_channels]) + mean;
      partial[1] = max(square - sum * mean, 0.0f);
    }
  }
}

struct Moments {
  float mean, squares;  // squares: of the deviations from the mean
};

// Of a group over all chunks, by eight threads.
__device__ Moments joined(const float* partials, const GroupNormLaunch& l, const Chunks& chunks,
                          int64_t batch, int group, int member) {
  const int64_t group_channels = l.channels / l.groups;
  const auto all = static_cast<float>(l.pixels * group_channels);
  const auto partial_of = [&](int64_t chunk) {
    return load<float, 2>(partials + 2 * ((batch * chunks.count + chunk) * l.groups + group));
  };
  const auto count_of = [&](int64_t chunk) {
    return static_cast<float>(min(chunks.pixels, l.pixels - chunk * chunks.pixels) * group_channels);
  };
  float sum = 0;
#pragma unroll 8
  for (int64_t chunk = member; chunk < chunks.count; chunk += kGroupThreads)
    sum += partial_of(chunk).at[0] * (count_of(chunk) / all);
  const float mean = group_sum(sum);
  float squares = 0;
#pragma unroll 8
  for (int64_t chunk = member; chunk < chunks.count; chunk += kGroupThreads) {
    const auto partial = partial_of(chunk);
    squares += partial.at[1] + (partial.at[0] - mean) * (partial.at[0] - mean) * count_of(chunk);
  }
  return {mean, group_sum(squares)};
}

// Many chunks to one.
__global__ void __launch_bounds__(kGroupThreads * 32)
    join_kernel(GroupNormLaunch l, Chunks chunks, float* out) {
  const int group = static_cast<int>(blockIdx.x * 32 + threadIdx.x / kGroupThreads);
  const bool is_one = group < l.groups;
  const Moments all = joined(l.partials, l, chunks, blockIdx.y, is_one ? group : 0,
                             static_cast<int>(threadIdx.x % kGroupThreads));
  if (!is_one || threadIdx.x % kGroupThreads != 0) return;
  out[2 * (blockIdx.y * l.groups + group)] = all.mean;
  out[2 * (blockIdx.y * l.groups + group) + 1] = all.squares;
}

// shared: 2 * groups floats (mean, deviation's reciprocal)
template <typename T, int N>
__global__ void __launch_bounds__(kThreads)
    apply_kernel(GroupNormLaunch l, Chunks chunks, const float* partials) {
  extern __shared__ float groups[];
  const int64_t batch = blockIdx.y;
  const auto elements = static_cast<float>(l.pixels * (l.channels / l.groups));
  for (int first = 0; first < l.groups; first += kThreads / kGroupThreads) {
    const int group = first + static_cast<int>(threadIdx.x) / kGroupThreads;
    const Moments all = joined(partials, l, chunks, batch, group < l.groups ? group : 0,
                               static_cast<int>(threadIdx.x) % kGroupThreads);
    if (group < l.groups && threadIdx.x % kGroupThreads == 0) {
      groups[2 * group] = all.mean;
      groups[2 * group + 1] = rsqrtf(all.squares / elements + l.eps);
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
    const auto weights = load<T, N>(weight + pack * N), biases = load<T, N>(bias + pack * N);
    Pack<T, N> addends;
    if (addend) addends = load<T, N>(addend + pack * N);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const int group = (pack * N + i) / group_channels;
      scale[i] = groups[2 * group + 1] * to_float(weights.at[i]);
      const float add = addend ? to_float(addends.at[i]) : 0.0f;
      shift[i] = to_float(biases.at[i]) + (add - groups[2 * group]) * scale[i];
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
  moments_kernel<T, N>
      <<<dim3(static_cast<unsigned>(chunks.count), batch), kThreads,
         static_cast<size_t>(2 * lanes.pixels * l.channels) * sizeof(float), stream>>>(l, chunks);
  const float* partials = l.partials;
  if (chunks.count > kFewChunks) {
    float* joined = l.partials + 2 * l.batch * chunks.count * l.groups;
    join_kernel<<<dim3(static_cast<unsigned>((l.groups + 31) / 32), batch), 32 * kGroupThreads, 0, stream>>>(
        l, chunks, joined);
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
  if (group_norm_in_one_launch(l, stream, result)) return result;
  with_type(l.type, [&](auto value) {
    using T = decltype(value);
    constexpr int kWide = 16 / sizeof(T);
    result = l.channels % kWide == 0 ? run<T, kWide>(l, stream) : run<T, 1>(l, stream);
  });
  return result;
}

}  // namespace diffract::kernels::cuda
