#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

// The launchers: pointers and sizes, no tensors, so that a .cu file compiles in seconds. Every launcher gives
// the error of its launch.
namespace diffract::kernels::cuda {

enum class ElementType { float32, float16, bfloat16 };

/// GroupNorm of channels-last `x` [batch, pixels, channels], the activation behind it and what is added
/// before it: in one launch where the map fits in shared memory, else in two (three for large maps).
struct GroupNormLaunch {
  ElementType type;
  const void* x;
  const void* addend;         // [batch, channels] or null: added to x first
  const void *weight, *bias;  // [channels]
  void* out;
  float* partials;  // at least group_norm_scratch(...) floats
  int64_t batch, pixels, channels, groups;
  float eps;
  bool silu;
};
int64_t group_norm_scratch(const GroupNormLaunch& launch);
/// False when the map or the GPU does not allow it; `result` is the launch's otherwise.
bool group_norm_in_one_launch(const GroupNormLaunch& launch, cudaStream_t stream, cudaError_t& result);
cudaError_t group_norm(const GroupNormLaunch& launch, cudaStream_t stream);

/// sum = x + gate * y, out = norm(sum) * (1 + scale) + shift, or norm(sum) * weight + bias; rows of `width`.
struct ResidualNormLaunch {
  ElementType type;
  const void* x;
  const void* y;              // null: sum = x
  const void* gate;           // [rows / rows_a_batch, width], null: 1
  int64_t vector_stride;      // elements between the batches of gate, scale and shift
  const void *scale, *shift;  // null: none
  const void *weight, *bias;  // [width], null: none
  void* sum;                  // null: not wanted
  void* out;                  // null: no norm
  float* float8_scales;       // [rows], where out is rounded to float8; null: out has the type above
  int64_t rows, rows_a_batch, width;
  float eps;
  bool rms;  // no mean taken off
};
cudaError_t residual_norm(const ResidualNormLaunch& launch, cudaStream_t stream);

/// out = softmax(scale q k^T) v.
struct AttentionLaunch {
  template <typename Data>
  struct Heads {  // [batch, heads, tokens, width] by strides in elements; a token's width lies in a row
    Data* data;
    int64_t batch_stride, head_stride, token_stride;
  };
  ElementType type;
  Heads<const void> q, k, v;
  Heads<void> out;  // every token begins at a multiple of 16 bytes: the caller sees to it
  int64_t batch, heads, queries, keys, width;
  float scale;
};
constexpr int64_t kHopperHeadWidth = 128;
/// False when the shape, the strides (every token begins at a multiple of 16 bytes) or the GPU do not allow
/// it, and for shapes that other kernels are faster at; `result` is the launch's otherwise.
bool attention_on_hopper(const AttentionLaunch& launch, cudaStream_t stream, cudaError_t& result);

/// In place over queries and keys [batch, tokens, heads, width] with the strides given: RMS norm of each
/// head, scaled by its weight [width], then each pair of neighbours turned by rope [tokens, width / 2, 2].
struct RotaryLaunch {
  ElementType type;
  void *query, *key;
  const void *query_weight, *key_weight;
  const float* rope;
  int64_t batch, tokens, heads, width;
  int64_t batch_stride, token_stride;  // of both, in elements; heads are neighbours
  float eps;
  bool is_wide;  // every head begins at a multiple of 16 bytes
};
cudaError_t norm_rotary(const RotaryLaunch& launch, cudaStream_t stream);

/// out [rows, width] = a * gelu(b) of the halves of x [rows, 2 width].
struct GatedGeluLaunch {
  ElementType type;
  const void* x;
  void* out;
  int64_t rows, width;
  bool tanh;
  bool gate_first;  // gelu(first half) * second half
};
cudaError_t gated_gelu(const GatedGeluLaunch& launch, cudaStream_t stream);

/// out = x + bias [channels] + residual, over elements whose last dimension is channels.
struct BiasResidualLaunch {
  ElementType type;
  const void* x;
  const void* bias;      // null: none
  const void* residual;  // null: none
  void* out;
  int64_t elements, channels;
};
cudaError_t bias_residual(const BiasResidualLaunch& launch, cudaStream_t stream);

/// y [rows, out] = x W^T + bias for 1 to kMostFewRows rows and each of the layers; `in` and x's stride are
/// multiples of 16 bytes.
struct FewRowsLayer {
  const void* weight;  // [out, in]
  const void* bias;    // [out], null: none
  void* y;
  int64_t out;
};
constexpr int kMostFewRowsLayers = 32;
struct FewRowsLaunch {
  ElementType type;
  const void* x;  // [rows, in]
  int64_t rows, in;
  int64_t x_stride;  // elements between rows
  int layers;
  FewRowsLayer layer[kMostFewRowsLayers];
};
constexpr int64_t kMostFewRows = 4;
cudaError_t few_rows(const FewRowsLaunch& launch, cudaStream_t stream);

/// Rows of `bytes` (a multiple of 16) from one stride (in bytes) to another.
cudaError_t copy_rows(const void* from, int64_t from_stride, void* to, int64_t to_stride, int64_t bytes,
                      int64_t rows, cudaStream_t stream);

/// out = negative + scale * (positive - negative), float32.
cudaError_t guide(const float* negative, const float* positive, float scale, float* out, int64_t elements,
                  cudaStream_t stream);

/// Rows of `x` beside tanh gelu(hidden) to float8 (e4m3), each divided by a scale of its own that is written
/// too. Widths and strides are multiples of 16 bytes; either width may be 0.
struct RoundRowsLaunch {
  ElementType type;
  const void *x, *hidden;
  int64_t x_width, hidden_width;
  int64_t x_stride, hidden_stride;  // elements between rows
  void* out;                        // [rows, x_width + hidden_width] bytes
  float* scales;                    // [rows]
  int64_t rows;
};
constexpr int64_t kMostRoundedBytes = 8 * 384 * 16;  // of a row
cudaError_t round_rows(const RoundRowsLaunch& launch, cudaStream_t stream);

}  // namespace diffract::kernels::cuda
