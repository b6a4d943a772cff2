#pragma once
#include <ATen/ATen.h>

namespace diffract::weights {

/// A matrix or kernel of a layer: kept as it is stored, handed out in the type that the arithmetic is done
/// in. Where the two differ, get() widens it into a scratch buffer that the thread's next get() overwrites;
/// so a layer uses what get() gave before it asks for another, and a float16 model is computed in float32
/// without a second copy of it. Widening is exact, so the result is the one that a float32 copy would give.
class Weight {
 public:
  Weight() = default;
  Weight(at::Tensor stored, at::ScalarType arithmetic)
      : stored_(std::move(stored)), arithmetic_(arithmetic) {}

  at::Tensor get() const;
  const at::Tensor& stored() const { return stored_; }
  at::ScalarType arithmetic() const { return arithmetic_; }

 private:
  at::Tensor stored_;
  at::ScalarType arithmetic_ = at::kFloat;
};

/// Gives back this thread's scratch buffer; the next get() makes a new one.
void release_scratch();

}  // namespace diffract::weights
