#include "diffract/distributed/split.h"

#include <algorithm>

namespace diffract::distributed {
namespace {

Json cut(const Json& value, const Share& share, bool apply_padding) {
  if (value.is_array()) return distributed::cut(value.get_ref<const Json::array_t&>(), share, apply_padding);
  if (!value.is_object()) return value;
  Json part = Json::object();
  for (const auto& [name, inner] : value.items()) part[name] = cut(inner, share, apply_padding);
  return part;
}

// Python's len().
size_t length_of(const Json& value, const std::string& name) {
  if (value.is_array() || value.is_object()) return value.size();
  if (!value.is_string())
    throw UsageError("{}: is {}; only lists, objects of lists and texts are split between processes", name,
                     excerpt(value));
  const auto& text =
      value.get_ref<const std::string&>();  // counts code points, which begin anywhere but here
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

}  // namespace

Share share_of(size_t length, WorldRank place) {
  if (place.world_size < 1 || place.rank < 0 || place.rank >= place.world_size)
    throw UsageError("split between processes: rank {} of {}; expected a rank from 0 to below the size",
                     place.rank, place.world_size);
  const auto rank = static_cast<size_t>(place.rank), size = static_cast<size_t>(place.world_size);
  const size_t each = length / size, more = length % size;
  const bool takes_one_more = rank < more;
  const size_t begin = rank * each + std::min(rank, more);
  return {.begin = begin,
          .end = begin + each + (takes_one_more ? 1 : 0),
          .padded = more > 0 && !takes_one_more ? size_t{1} : 0};
}

size_t length_of(const at::Tensor& values) {
  if (values.dim() == 0)
    throw UsageError("split between processes: a tensor without dimensions cannot be split");
  return static_cast<size_t>(values.size(0));
}

at::Tensor cut(const at::Tensor& values, const Share& share, bool apply_padding) {
  const auto length = static_cast<int64_t>(length_of(values));
  const int64_t end = std::min(static_cast<int64_t>(share.end), length);
  const int64_t begin = std::min(static_cast<int64_t>(share.begin), end);
  at::Tensor part = values.slice(0, begin, end);
  if (!apply_padding) return part;
  if (length == 0) fail_padding_nothing();
  const int64_t missing = static_cast<int64_t>(share.end - share.begin + share.padded) - (end - begin);
  if (missing <= 0) return part;
  std::vector<int64_t> shape = values.sizes().vec();
  shape[0] = missing;
  return at::cat({part, values.slice(0, length - 1).expand(shape)});
}

at::Tensor split(const at::Tensor& inputs, WorldRank place, bool apply_padding) {
  if (place.world_size == 1) return inputs;
  return cut(inputs, share_of(length_of(inputs), place), apply_padding);
}

Json split(const Json& inputs, WorldRank place, bool apply_padding) {
  if (place.world_size == 1) return inputs;
  size_t length = 0;
  if (inputs.is_object()) {
    std::vector<std::pair<std::string, size_t>> lengths;
    for (const auto& [name, value] : inputs.items())
      lengths.emplace_back(name, length_of(value, "\"" + name + "\""));
    check_lengths(lengths);
    length = lengths.front().second;
  } else {
    length = length_of(inputs, "the input");
  }
  return cut(inputs, share_of(length, place), apply_padding);
}

void check_lengths(const std::vector<std::pair<std::string, size_t>>& lengths) {
  if (lengths.empty()) throw UsageError("split between processes: the object is empty");
  for (const auto& [name, length] : lengths)
    if (length != lengths.front().second)
      throw UsageError(
          "split between processes: \"{}\" has {} items and \"{}\" has {}. All values in the dictionary must "
          "have the same length",
          lengths.front().first, lengths.front().second, name, length);
}

void fail_padding_nothing() {
  throw UsageError("split between processes: an empty list has no last item to pad with");
}

}  // namespace diffract::distributed
