#pragma once
#include <ATen/ATen.h>

namespace diffract::distributed {

// A tensor as bytes, for a receiver that knows its shape and dtype: the strides, which it cannot know and on
// which the last bits of what a layer makes of it may depend, and the values as they lie in memory.

/// How many bytes a message of a tensor like `x` has.
int64_t message_bytes(const at::Tensor& x);
/// The message of `value`: a copy in CPU memory, so that its owner may go on and write into it.
at::Tensor message_of(const at::Tensor& value);
/// The values in a message of a tensor of the shape and dtype of `like`; they share its memory.
at::Tensor value_in(const at::Tensor& message, const at::Tensor& like);

}  // namespace diffract::distributed
