#pragma once
#include <ATen/ATen.h>

#include <vector>

#include "diffract/kernels/linear_float8.h"

namespace diffract::weights {

/// How a weight's values stand for numbers.
enum class Encoding {
  dense,       // they are the numbers, in the type that they are stored in
  float8_rows  // float8, each row with a scale of its own
};

/// A matrix or kernel of a layer: kept as it is stored, handed out in the type that the arithmetic is done
/// in. Where the two differ, get() widens it into a scratch buffer that the thread's next get() overwrites;
/// so a layer uses what get() gave before it asks for another, and a float16 model is computed in float32
/// without a second copy of it. Widening is exact, so the result is the one that a float32 copy would give.
/// Other encodings are for products (nn::multiply) alone.
class Weight {
 public:
  Weight() = default;
  Weight(at::Tensor stored, at::ScalarType arithmetic)
      : stored_(std::move(stored)), arithmetic_(arithmetic) {}
  explicit Weight(kernels::Float8Matrix matrix)
      : encoding_(Encoding::float8_rows),
        stored_(std::move(matrix.values)),
        scales_(std::move(matrix.scales)),
        arithmetic_(at::kFloat8_e4m3fn) {}

  Encoding encoding() const { return encoding_; }
  /// Whether a product with it reads rows that are rounded to float8.
  bool wants_rounded_rows() const { return encoding_ == Encoding::float8_rows; }
  /// Of a dense one.
  at::Tensor get() const;
  const at::Tensor& stored() const { return stored_; }
  const at::Tensor& scales() const { return scales_; }  // [out, 1] of float8_rows, undefined otherwise
  at::ScalarType arithmetic() const { return arithmetic_; }

  /// The rows from `first` on, without a copy.
  Weight rows(int64_t first, int64_t count) const;
  /// Matrices of one encoding and width as one, behind each other; as joined() below.
  static Weight joined(const std::vector<Weight>& matrices);

 private:
  Encoding encoding_ = Encoding::dense;
  at::Tensor stored_, scales_;
  at::ScalarType arithmetic_ = at::kFloat;
};

/// Tensors [n, ...] of one type and width as one, behind each other: without a copy where they lie so in
/// memory, as the matrices of an offloaded part do (Part::matrices_first).
at::Tensor joined(const std::vector<at::Tensor>& tensors);

/// Gives back this thread's scratch buffer; the next get() makes a new one.
void release_scratch();

}  // namespace diffract::weights
