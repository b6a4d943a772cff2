#pragma once
#include <ATen/ATen.h>

#include <type_traits>

#include "diffract/distributed/rank_tensor.h"

namespace diffract::nn {

using at::Tensor;

/// The argument of a layer, or its result, with map(tensor) in place of its tensors; numbers stay. A struct
/// of tensors has its own overload beside its definition.
template <typename Map>
Tensor map_tensors(const Tensor& x, Map&& map) {
  return x.defined() ? map(x) : x;
}
template <typename Number, typename Map>
requires std::is_arithmetic_v<Number> || std::is_enum_v<Number> Number map_tensors(Number number, Map&&) {
  return number;
}
template <typename Map>
at::OptionalIntArrayRef map_tensors(at::OptionalIntArrayRef sizes, Map&&) {
  return sizes;
}

/// `x` on a device, which may be another process' (distributed::moved).
inline Tensor to_device(const Tensor& x, at::Device device) {
  const bool moves = x.defined() && x.device() != device && !x.is_meta();  // meta: only shapes are asked for
  return moves ? distributed::moved(x, device) : x;
}
/// The same for whatever a layer takes.
template <typename Argument>
requires(!std::is_same_v<Argument, Tensor>) auto to_device(const Argument& argument, at::Device device) {
  return map_tensors(argument, [&](const Tensor& x) { return to_device(x, device); });
}

/// What a layer gives, in the form in which other devices have it. A struct that leaves work to the next
/// layer has its own overload.
template <typename Result>
Result settled(Result result) {
  return result;
}

/// `x` where `other` is, for sums of what different layers gave.
inline Tensor beside(const Tensor& other, const Tensor& x) { return to_device(x, other.device()); }

}  // namespace diffract::nn
