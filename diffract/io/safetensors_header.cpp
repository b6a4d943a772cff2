#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_set>

#include "diffract/core/error.h"
#include "diffract/io/safetensors.h"

namespace diffract::io {
namespace {

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the reference parser's bound
constexpr int kMaxDepth = 127;  // of fields that we do not know, as in the reference parser
constexpr size_t kMaxRank = 1 << 20;
constexpr const char* kMetadataKey = "__metadata__";

struct DtypeRow {
  Dtype dtype;
  std::string_view name;
  uint64_t bits;
};
constexpr DtypeRow kDtypes[] = {
    {Dtype::BOOL, "BOOL", 8},
    {Dtype::F4, "F4", 4},
    {Dtype::F6_E2M3, "F6_E2M3", 6},
    {Dtype::F6_E3M2, "F6_E3M2", 6},
    {Dtype::U8, "U8", 8},
    {Dtype::I8, "I8", 8},
    {Dtype::F8_E5M2, "F8_E5M2", 8},
    {Dtype::F8_E4M3, "F8_E4M3", 8},
    {Dtype::F8_E8M0, "F8_E8M0", 8},
    {Dtype::F8_E4M3FNUZ, "F8_E4M3FNUZ", 8},
    {Dtype::F8_E5M2FNUZ, "F8_E5M2FNUZ", 8},
    {Dtype::I16, "I16", 16},
    {Dtype::U16, "U16", 16},
    {Dtype::F16, "F16", 16},
    {Dtype::BF16, "BF16", 16},
    {Dtype::I32, "I32", 32},
    {Dtype::U32, "U32", 32},
    {Dtype::F32, "F32", 32},
    {Dtype::C64, "C64", 64},
    {Dtype::F64, "F64", 64},
    {Dtype::I64, "I64", 64},
    {Dtype::U64, "U64", 64},
};

const DtypeRow& row_of(Dtype dtype) {
  for (const auto& row : kDtypes)
    if (row.dtype == dtype) return row;
  throw InternalError("dtype {} has no row", static_cast<int>(dtype));
}

// Receives the header's JSON as events, so that a key that stands twice is seen and no tree is built. Each
// state is one place in { "__metadata__": {...}, NAME: {"dtype": ..., "shape": [...], "data_offsets": [b, e]}
// }.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  HeaderReader(SafetensorsHeader& header, const std::string& source) : header_(header), source_(source) {}

  bool start_object(size_t) override {
    if (skip_depth_ > 0) return deeper();
    switch (place_) {
      case Place::start:
        return go(Place::top);
      case Place::metadata_value:
        return go(Place::metadata);
      case Place::tensor_value:
        return go(Place::tensor);
      case Place::unknown_field:
        return deeper();
      default:
        fail("an object stands where none belongs");
    }
  }
  bool end_object() override {
    if (skip_depth_ > 0) return shallower();
    if (place_ == Place::tensor) finish_tensor();
    return go(place_ == Place::top ? Place::end : Place::top);
  }
  bool start_array(size_t) override {
    if (skip_depth_ > 0 || place_ == Place::unknown_field) return deeper();
    if (place_ == Place::shape) return go(Place::in_shape);
    if (place_ == Place::offsets) return go(Place::in_offsets);
    fail("a list stands where none belongs");
  }
  bool end_array() override {
    if (skip_depth_ > 0) return shallower();
    return go(Place::tensor);
  }
  bool key(string_t& name) override {
    if (skip_depth_ > 0) return true;
    if (place_ == Place::top) return top_key(name);
    if (place_ == Place::metadata) {
      if (header_.metadata.count(name)) fail(fmt::format("metadata key \"{}\" stands twice", name));
      metadata_key_ = name;
      return true;
    }
    return field_key(name);
  }
  bool string(string_t& text) override {
    if (skip_depth_ > 0) return true;
    if (place_ == Place::metadata) {
      header_.metadata.emplace(metadata_key_, text);
      return true;
    }
    if (place_ == Place::dtype) {
      const auto row =
          std::find_if(std::begin(kDtypes), std::end(kDtypes), [&](const auto& r) { return r.name == text; });
      if (row == std::end(kDtypes))
        fail(fmt::format("tensor \"{}\" has the unknown dtype \"{}\"", name_, text));
      dtype_ = row->dtype;
      return go(Place::tensor);
    }
    return scalar("a string");
  }
  bool number_unsigned(number_unsigned_t number) override {
    if (skip_depth_ == 0 && (place_ == Place::in_shape || place_ == Place::in_offsets)) {
      auto& list = place_ == Place::in_shape ? *shape_ : *offsets_;
      if (list.size() >= kMaxRank)
        fail(fmt::format("tensor \"{}\" has more than {} dimensions", name_, kMaxRank));
      list.push_back(number);
      return true;
    }
    return scalar("a number");
  }
  bool null() override {
    if (skip_depth_ == 0 && place_ == Place::metadata_value) return go(Place::top);
    return scalar("null");
  }
  bool boolean(bool) override { return scalar("a boolean"); }
  bool number_integer(number_integer_t) override { return scalar("a negative number"); }
  bool number_float(number_float_t, const string_t&) override { return scalar("a number that is not whole"); }
  bool binary(binary_t&) override { return scalar("binary data"); }
  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception&) override {
    fail(fmt::format("its JSON is not valid at byte {}", position));
  }

 private:
  enum class Place {
    start,
    top,
    metadata_value,
    metadata,
    tensor_value,
    tensor,
    dtype,
    shape,
    in_shape,
    offsets,
    in_offsets,
    unknown_field,
    end
  };

  [[noreturn]] void fail(const std::string& problem) const {
    throw CheckpointError("{}: damaged safetensors header: {}", source_, problem);
  }
  bool go(Place place) {
    place_ = place;
    return true;
  }
  bool deeper() {
    if (++skip_depth_ > kMaxDepth) fail(fmt::format("nested deeper than {}", kMaxDepth));
    return true;
  }
  bool shallower() {
    if (--skip_depth_ == 0) place_ = Place::tensor;
    return true;
  }
  // A value that only an unknown field of a tensor may have.
  bool scalar(const char* what) {
    if (skip_depth_ > 0) return true;
    if (place_ == Place::unknown_field) return go(Place::tensor);
    fail(name_.empty() ? fmt::format("{} stands where none belongs", what)
                       : fmt::format("{} stands where none belongs, in or after tensor \"{}\"", what, name_));
  }
  bool top_key(const std::string& name) {
    if (name == kMetadataKey) {
      if (std::exchange(metadata_seen_, true)) fail("\"__metadata__\" stands twice");
      return go(Place::metadata_value);
    }
    if (!names_.insert(name).second) fail(fmt::format("tensor \"{}\" stands twice", name));
    name_ = name;
    dtype_.reset();
    shape_.reset();
    offsets_.reset();
    return go(Place::tensor_value);
  }
  bool field_key(const std::string& field) {
    const auto once = [&](bool seen) {
      if (seen) fail(fmt::format("tensor \"{}\" has \"{}\" twice", name_, field));
    };
    if (field == "dtype") {
      once(dtype_.has_value());
      return go(Place::dtype);
    }
    if (field == "shape") {
      once(shape_.has_value());
      shape_.emplace();
      return go(Place::shape);
    }
    if (field == "data_offsets") {
      once(offsets_.has_value());
      offsets_.emplace();
      return go(Place::offsets);
    }
    return go(Place::unknown_field);
  }
  void finish_tensor() {
    if (!dtype_ || !shape_ || !offsets_)
      fail(fmt::format("tensor \"{}\" lacks dtype, shape or data_offsets", name_));
    if (offsets_->size() != 2)
      fail(fmt::format("tensor \"{}\" has {} data_offsets; expected 2", name_, offsets_->size()));
    header_.tensors.push_back({name_, *dtype_, std::move(*shape_), (*offsets_)[0], (*offsets_)[1]});
  }

  SafetensorsHeader& header_;
  const std::string& source_;
  Place place_ = Place::start;
  int skip_depth_ = 0;  // inside the value of a field that we do not know
  bool metadata_seen_ = false;
  std::string metadata_key_, name_;
  std::unordered_set<std::string> names_;
  std::optional<Dtype> dtype_;
  std::optional<std::vector<uint64_t>> shape_, offsets_;
};

void check_tensor(const TensorInfo& tensor, uint64_t expected_begin, const std::string& source) {
  const auto fail = [&](const std::string& problem) {
    throw CheckpointError("{}: damaged safetensors header: tensor \"{}\" {}", source, tensor.name, problem);
  };
  if (tensor.begin != expected_begin || tensor.end < tensor.begin)
    fail(fmt::format("has data_offsets [{}, {}]; expected them to begin at {}, where the one before ends",
                     tensor.begin, tensor.end, expected_begin));
  uint64_t bits = dtype_bits(tensor.dtype);
  uint64_t elements = 1;
  for (const uint64_t size : tensor.shape)
    if (__builtin_mul_overflow(elements, size, &elements)) fail("has a shape too large for 64 bits");
  if (__builtin_mul_overflow(elements, bits, &bits)) fail("has a shape too large for 64 bits");
  if (bits % 8 != 0) fail("does not end at a whole byte");
  if (bits / 8 != tensor.end - tensor.begin)
    fail(fmt::format("has {} bytes of data; its shape and dtype need {}", tensor.end - tensor.begin,
                     bits / 8));
}

}  // namespace

std::string_view dtype_name(Dtype dtype) { return row_of(dtype).name; }
uint64_t dtype_bits(Dtype dtype) { return row_of(dtype).bits; }

SafetensorsHeader parse_safetensors_header(std::span<const std::byte> file, const std::string& source) {
  uint64_t length = 0;
  if (file.size() < sizeof length)
    throw CheckpointError("{}: {} bytes are too few for a safetensors file. Was the download cut short?",
                          source, file.size());
  std::memcpy(&length, file.data(), sizeof length);  // little endian, as the machines we run on
  if (length > kMaxHeaderBytes || length > file.size() - sizeof length)
    throw CheckpointError(
        "{}: says its header has {} bytes, but the file has {}. Is it a safetensors file, and whole?", source,
        length, file.size());
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + sizeof length, length);
  // nlohmann::json takes a NUL for the end of the text and skips a byte order mark; the format allows
  // neither.
  if (text.find('\0') != std::string_view::npos || text.starts_with("\xef\xbb\xbf"))
    throw CheckpointError("{}: damaged safetensors header: it has bytes that are not JSON", source);

  SafetensorsHeader header;
  header.data_begin = sizeof length + length;
  HeaderReader reader(header, source);
  nlohmann::json::sax_parse(text.begin(), text.end(), &reader);

  std::sort(header.tensors.begin(), header.tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
  });
  uint64_t end = 0;
  for (const TensorInfo& tensor : header.tensors) {
    check_tensor(tensor, end, source);
    end = tensor.end;
  }
  if (end != file.size() - header.data_begin)
    throw CheckpointError("{}: has {} bytes of data; its header describes {}. Was the download cut short?",
                          source, file.size() - header.data_begin, end);
  return header;
}

}  // namespace diffract::io
