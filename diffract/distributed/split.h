#pragma once
#include <ATen/ATen.h>

#include <map>
#include <string>
#include <vector>

#include "diffract/core/error.h"
#include "diffract/core/json.h"

namespace diffract::distributed {

/// One process among `size`.
struct WorldRank {
  int rank = 0, world_size = 1;
};

/// What one process gets of a list: the items [begin, end), and how many copies of the list's last item come
/// after them when shares are padded to one length.
struct Share {
  size_t begin = 0, end = 0, padded = 0;
};

/// The share of `length` items: contiguous, in order, the first `length % size` processes take one more.
/// Throws UsageError for a rank outside [0, size).
Share share_of(size_t length, WorldRank place);

/// `inputs` between processes, as accelerate's PartialState.split_between_processes splits since 1.14: a
/// vector, a tensor along its first dimension, or an object of them, whose values are all cut at the same
/// places. One process gets all of it. With `apply_padding` the last item is repeated until all shares are as
/// long as the longest; an empty share is legal without it. Throws UsageError for padding of nothing, a
/// tensor without dimensions, and an object that is empty or whose values differ in length.
template <typename T>
std::vector<T> split(const std::vector<T>& inputs, WorldRank place, bool apply_padding = false);
at::Tensor split(const at::Tensor& inputs, WorldRank place, bool apply_padding = false);
template <typename Value>
std::map<std::string, Value> split(const std::map<std::string, Value>& inputs, WorldRank place,
                                   bool apply_padding = false);
/// The same for JSON: lists, and objects of lists. As in Python, a text (or a list's absence otherwise) goes
/// to every process whole, also as a value of an object; a nested object counts by its keys and is cut at the
/// outer one's places.
Json split(const Json& inputs, WorldRank place, bool apply_padding = false);

/// Cuts a value at a given share; the parts of `split`.
template <typename T>
std::vector<T> cut(const std::vector<T>& values, const Share& share, bool apply_padding);
at::Tensor cut(const at::Tensor& values, const Share& share, bool apply_padding);

size_t length_of(const at::Tensor& values);
template <typename T>
size_t length_of(const std::vector<T>& values) {
  return values.size();
}
/// Throws the UsageErrors of objects.
void check_lengths(const std::vector<std::pair<std::string, size_t>>& lengths);
[[noreturn]] void fail_padding_nothing();

template <typename T>
std::vector<T> cut(const std::vector<T>& values, const Share& share, bool apply_padding) {
  const size_t end = std::min(share.end, values.size()), begin = std::min(share.begin, end);
  std::vector<T> part(values.begin() + static_cast<std::ptrdiff_t>(begin),
                      values.begin() + static_cast<std::ptrdiff_t>(end));
  if (!apply_padding) return part;
  if (values.empty()) fail_padding_nothing();
  part.resize(std::max(part.size(), share.end - share.begin + share.padded), values.back());
  return part;
}

template <typename T>
std::vector<T> split(const std::vector<T>& inputs, WorldRank place, bool apply_padding) {
  const Share share = share_of(inputs.size(), place);
  return place.world_size == 1 ? inputs : cut(inputs, share, apply_padding);
}

template <typename Value>
std::map<std::string, Value> split(const std::map<std::string, Value>& inputs, WorldRank place,
                                   bool apply_padding) {
  if (place.world_size == 1) return inputs;
  std::vector<std::pair<std::string, size_t>> lengths;
  for (const auto& [name, value] : inputs) lengths.emplace_back(name, length_of(value));
  check_lengths(lengths);
  const Share share = share_of(lengths.front().second, place);
  std::map<std::string, Value> part;
  for (const auto& [name, value] : inputs) part.emplace(name, cut(value, share, apply_padding));
  return part;
}

}  // namespace diffract::distributed
