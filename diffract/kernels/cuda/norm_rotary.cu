#include "diffract/kernels/cuda/launch.h"
#include "diffract/kernels/cuda/types.cuh"

namespace diffract::kernels::cuda {
namespace {

constexpr int kThreads = 256;

// `Lanes` threads a head of a token's query or key, each with up to `Packs` packs of N neighbours (N even). A
// thread has one head and few registers, so that many blocks load at once.
template <typename T, int N, int Lanes, int Packs>
__global__ void __launch_bounds__(kThreads) norm_rotary_kernel(RotaryLaunch l) {
  const int heads = static_cast<int>(l.heads), width = static_cast<int>(l.width);
  const int lane = static_cast<int>(threadIdx.x) % Lanes;
  const int row = static_cast<int>(blockIdx.y) * (kThreads / Lanes) + static_cast<int>(threadIdx.x) / Lanes;
  const bool is_one = row < 2 * heads, is_key = row >= heads;  // all lanes take part in the sums
  T* const x = static_cast<T*>(is_key ? l.key : l.query) + blockIdx.z * l.batch_stride +
               blockIdx.x * l.token_stride + (is_key ? row - heads : row) * width;
  const T* const weights = static_cast<const T*>(is_key ? l.key_weight : l.query_weight);
  const float* const rope = l.rope + int64_t{blockIdx.x} * width;
  const auto for_each_pack = [&](auto&& body) {  // body(which of the thread's, where)
#pragma unroll
    for (int p = 0; p < Packs; ++p)
      if (is_one && (p * Lanes + lane) * N < width) body(p, (p * Lanes + lane) * N);
  };

  Pack<T, N> values[Packs];
  Pack<float, N> turns[Packs];  // cosine, sine, cosine, ...
  for_each_pack([&](int p, int at) {
    values[p] = load<T, N>(x + at);
    turns[p] = load_constant<float, N>(rope + at);
  });
  float squares = 0;
  for_each_pack([&](int p, int) {
#pragma unroll
    for (int i = 0; i < N; ++i) squares += to_float(values[p].at[i]) * to_float(values[p].at[i]);
  });
#pragma unroll
  for (int offset = Lanes / 2; offset > 0; offset /= 2)
    squares += __shfl_xor_sync(0xffffffffu, squares, offset);
  const float scale = rsqrtf(squares / static_cast<float>(width) + l.eps);
  for_each_pack([&](int p, int at) {
    const auto weight = load_constant<T, N>(weights + at);
#pragma unroll
    for (int i = 0; i < N; i += 2) {
      const float a = to_float(values[p].at[i]) * scale * to_float(weight.at[i]);
      const float b = to_float(values[p].at[i + 1]) * scale * to_float(weight.at[i + 1]);
      values[p].at[i] = from_float<T>(a * turns[p].at[i] - b * turns[p].at[i + 1]);
      values[p].at[i + 1] = from_float<T>(a * turns[p].at[i + 1] + b * turns[p].at[i]);
    }
    store<T, N>(x + at, values[p]);
  });
}

}  // namespace

cudaError_t norm_rotary(const RotaryLaunch& l, cudaStream_t stream) {
  const auto blocks_of = [&](int64_t lanes) {
    const int64_t heads_a_block = kThreads / lanes;
    return dim3(static_cast<unsigned>(l.tokens),
                static_cast<unsigned>((2 * l.heads + heads_a_block - 1) / heads_a_block),
                static_cast<unsigned>(l.batch));
  };
  bool fits = true;
  with_type(l.type, [&](auto value) {
    using T = decltype(value);
    constexpr int kWide = 16 / sizeof(T);
    const bool wide = l.is_wide && l.width % kWide == 0 && l.width <= 64 * kWide;
    const int64_t packs = wide ? l.width / kWide : l.width / 2;
    if (wide && packs <= 16)
      norm_rotary_kernel<T, kWide, 16, 1><<<blocks_of(16), kThreads, 0, stream>>>(l);
    else if (wide)
      norm_rotary_kernel<T, kWide, 32, 2><<<blocks_of(32), kThreads, 0, stream>>>(l);
    else if (packs <= 256)
      norm_rotary_kernel<T, 2, 32, 8><<<blocks_of(32), kThreads, 0, stream>>>(l);
    else
      fits = false;
  });
  return fits ? cudaGetLastError() : cudaErrorInvalidValue;
}

}  // namespace diffract::kernels::cuda
