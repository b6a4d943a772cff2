#include "diffract/kernels/cuda/launch.h"
#include "diffract/kernels/cuda/types.cuh"

namespace diffract::kernels::cuda {
namespace {

constexpr int kWarps = 8;

// A warp a head of a token: each lane holds up to `Pairs` pairs of neighbours.
template <typename T, int Pairs>
__global__ void __launch_bounds__(32 * kWarps) norm_rotary_kernel(RotaryLaunch l) {
  const int64_t item = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (item >= l.batch * l.tokens * l.heads) return;
  const int lane = static_cast<int>(threadIdx.x % 32), pairs = static_cast<int>(l.width / 2);
  const int64_t head = item % l.heads, token = item / l.heads % l.tokens, batch = item / l.heads / l.tokens;
  T* x = static_cast<T*>(l.x) + batch * l.batch_stride + token * l.token_stride + head * l.width;
  const T* weight = static_cast<const T*>(l.weight);
  const float* rope = l.rope + token * l.width;

  float first[Pairs], second[Pairs];
  float squares = 0;
#pragma unroll
  for (int p = 0; p < Pairs; ++p) {
    const int pair = p * 32 + lane;
    first[p] = second[p] = 0;
    if (pair >= pairs) continue;
    const auto values = load<T, 2>(x + 2 * pair);
    first[p] = to_float(values.at[0]);
    second[p] = to_float(values.at[1]);
    squares += first[p] * first[p] + second[p] * second[p];
  }
  const float scale = rsqrtf(warp_sum(squares) / static_cast<float>(l.width) + l.eps);
#pragma unroll
  for (int p = 0; p < Pairs; ++p) {
    const int pair = p * 32 + lane;
    if (pair >= pairs) continue;
    const auto w = load<T, 2>(weight + 2 * pair);
    const auto turn = load<float, 2>(rope + 2 * pair);  // cosine, sine
    const float a = first[p] * scale * to_float(w.at[0]), b = second[p] * scale * to_float(w.at[1]);
    store<T, 2>(x + 2 * pair, {from_float<T>(a * turn.at[0] - b * turn.at[1]),
                               from_float<T>(a * turn.at[1] + b * turn.at[0])});
  }
}

}  // namespace

cudaError_t norm_rotary(const RotaryLaunch& l, cudaStream_t stream) {
  const int64_t items = l.batch * l.tokens * l.heads;
  const auto blocks = static_cast<unsigned>((items + kWarps - 1) / kWarps);
  with_type(l.type, [&](auto value) {
    using T = decltype(value);
    if (l.width <= 128)
      norm_rotary_kernel<T, 2><<<blocks, 32 * kWarps, 0, stream>>>(l);
    else if (l.width <= 512)
      norm_rotary_kernel<T, 8><<<blocks, 32 * kWarps, 0, stream>>>(l);
  });
  return l.width <= 512 ? cudaGetLastError() : cudaErrorInvalidValue;
}

}  // namespace diffract::kernels::cuda
