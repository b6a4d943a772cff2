#include "diffract/weights/tensor_source.h"

#include <limits>

namespace diffract::weights {
namespace {

class Meta final : public TensorSource {
 public:
  explicit Meta(Asked asked) : asked_(std::move(asked)) {}
  bool has(const std::string&) const override { return false; }
  StoredTensor stored(const std::string& name, at::IntArrayRef shape) const override {
    asked_(name, shape);
    return {at::empty(shape, at::TensorOptions(at::kFloat).device(at::kMeta)), nullptr, 0};
  }
  int64_t total_elements() const override { return 0; }

 private:
  Asked asked_;
};

class Made final : public TensorSource {
 public:
  Made(Maker make, std::function<bool(const std::string&)> has)
      : make_(std::move(make)), has_(std::move(has)) {}
  bool has(const std::string& name) const override { return has_(name); }
  StoredTensor stored(const std::string& name, at::IntArrayRef shape) const override {
    return {make_(name, shape), nullptr, 0};
  }
  int64_t total_elements() const override { return std::numeric_limits<int64_t>::max(); }  // kept as made

 private:
  Maker make_;
  std::function<bool(const std::string&)> has_;
};

class Renamed final : public TensorSource {
 public:
  Renamed(TensorSourcePtr source, std::function<std::string(const std::string&)> to_source)
      : source_(std::move(source)), to_source_(std::move(to_source)) {}
  bool has(const std::string& name) const override { return source_->has(to_source_(name)); }
  StoredTensor stored(const std::string& name, at::IntArrayRef shape) const override {
    return source_->stored(to_source_(name), shape);
  }
  int64_t total_elements() const override { return source_->total_elements(); }

 private:
  TensorSourcePtr source_;
  std::function<std::string(const std::string&)> to_source_;
};

}  // namespace

TensorSourcePtr meta_source(Asked asked) { return std::make_shared<const Meta>(std::move(asked)); }

TensorSourcePtr made_source(Maker make, std::function<bool(const std::string&)> has) {
  return std::make_shared<const Made>(std::move(make), std::move(has));
}

TensorSourcePtr renamed(TensorSourcePtr source, std::function<std::string(const std::string&)> to_source) {
  return std::make_shared<const Renamed>(std::move(source), std::move(to_source));
}

}  // namespace diffract::weights
