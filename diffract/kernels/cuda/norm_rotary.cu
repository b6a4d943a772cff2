#include "diffract/kernels/cuda/launch.h"
#include "diffract/kernels/cuda/types.cuh"

namespace diffract::kernels::cuda {
namespace {

constexpr int kMostThreads = 512;

// `Lanes` threads a head of a token, each with up to `Packs` packs of N neighbours (N even): of the query and
// of the key, whose loads are under way together.
template <typename T, int N, int Lanes, int Packs>
__global__ void __launch_bounds__(kMostThreads) norm_rotary_kernel(RotaryLaunch l) {
  const int heads_at_once = static_cast<int>(blockDim.x) / Lanes;
  const int lane = static_cast<int>(threadIdx.x) % Lanes;
  const int packs = static_cast<int>(l.width) / N;
  const int64_t row = blockIdx.x, token = row % l.tokens, batch = row / l.tokens;
  const int64_t begin = batch * l.batch_stride + token * l.token_stride;
  T* const x[2] = {static_cast<T*>(l.query) + begin, static_cast<T*>(l.key) + begin};
  const T* const weights[2] = {static_cast<const T*>(l.query_weight), static_cast<const T*>(l.key_weight)};
  const float* rope = l.rope + token * l.width;
  for (int head = static_cast<int>(threadIdx.x) / Lanes;
       head - static_cast<int>(threadIdx.x) / Lanes < l.heads; head += heads_at_once) {
    const bool is_one = head < l.heads;  // all lanes take part in the sums
    Pack<T, N> values[2][Packs];
#pragma unroll
    for (int which = 0; which < 2; ++which)
#pragma unroll
      for (int p = 0; p < Packs; ++p)
        if (is_one && p * Lanes + lane < packs)
          values[which][p] = load<T, N>(x[which] + head * l.width + (p * Lanes + lane) * N);
#pragma unroll
    for (int which = 0; which < 2; ++which) {
      float squares = 0;
#pragma unroll
      for (int p = 0; p < Packs; ++p)
        if (is_one && p * Lanes + lane < packs)
#pragma unroll
          for (int i = 0; i < N; ++i)
            squares += to_float(values[which][p].at[i]) * to_float(values[which][p].at[i]);
#pragma unroll
      for (int offset = Lanes / 2; offset > 0; offset /= 2)
        squares += __shfl_xor_sync(0xffffffffu, squares, offset);
      const float scale = rsqrtf(squares / static_cast<float>(l.width) + l.eps);
#pragma unroll
      for (int p = 0; p < Packs; ++p) {
        const int pack = p * Lanes + lane;
        if (!is_one || pack >= packs) continue;
        const auto weight = load<T, N>(weights[which] + pack * N);
        const auto turns = load<float, N>(rope + pack * N);  // cosine, sine, cosine, ...
        auto& of_pack = values[which][p];
#pragma unroll
        for (int i = 0; i < N; i += 2) {
          const float a = to_float(of_pack.at[i]) * scale * to_float(weight.at[i]);
          const float b = to_float(of_pack.at[i + 1]) * scale * to_float(weight.at[i + 1]);
          of_pack.at[i] = from_float<T>(a * turns.at[i] - b * turns.at[i + 1]);
          of_pack.at[i + 1] = from_float<T>(a * turns.at[i + 1] + b * turns.at[i]);
        }
        store<T, N>(x[which] + head * l.width + pack * N, of_pack);
      }
    }
  }
}

}  // namespace

cudaError_t norm_rotary(const RotaryLaunch& l, cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>(l.batch * l.tokens);
  // All heads of a token at once, or a whole part of them.
  const auto threads_for = [&](int64_t lanes) {
    const int64_t wanted = l.heads * lanes, rounds = (wanted + kMostThreads - 1) / kMostThreads;
    return static_cast<unsigned>((wanted + rounds * 32 - 1) / (rounds * 32) * 32);
  };
  bool fits = true;
  with_type(l.type, [&](auto value) {
    using T = decltype(value);
    constexpr int kWide = 16 / sizeof(T);
    const bool wide = l.is_wide && l.width % kWide == 0;
    const int64_t packs = wide ? l.width / kWide : l.width / 2;
    if (wide && packs <= 16)
      norm_rotary_kernel<T, kWide, 16, 1><<<blocks, threads_for(16), 0, stream>>>(l);
    else if (wide && packs <= 64)
      norm_rotary_kernel<T, kWide, 32, 2><<<blocks, threads_for(32), 0, stream>>>(l);
    else if (!wide && packs <= 256)
      norm_rotary_kernel<T, 2, 32, 8><<<blocks, threads_for(32), 0, stream>>>(l);
    else
      fits = false;
  });
  return fits ? cudaGetLastError() : cudaErrorInvalidValue;
}

}  // namespace diffract::kernels::cuda
