#include "diffract/nn/activation.h"

#include <utility>

#include "diffract/core/error.h"

namespace diffract::nn {
namespace {

const std::vector<std::pair<std::string, Activation>>& table() {
  static const std::vector<std::pair<std::string, Activation>> entries = {
      {"silu", Activation::silu},
      {"swish", Activation::silu},
      {"gelu", Activation::gelu},
      {"gelu_new", Activation::gelu_new},
      {"quick_gelu", Activation::quick_gelu},
      {"relu", Activation::relu},
      {"mish", Activation::mish}};
  return entries;
}

}  // namespace

const std::vector<std::string>& activation_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> result;
    for (const auto& entry : table()) result.push_back(entry.first);
    return result;
  }();
  return names;
}

Activation parse_activation(const std::string& name) {
  for (const auto& [known, activation] : table())
    if (known == name) return activation;
  throw UsageError("activation \"{}\" is not known", name);
}

at::Tensor activate(Activation activation, at::Tensor&& x) {
  switch (activation) {
    case Activation::silu:
      return at::silu_(x);
    case Activation::gelu:
      return at::gelu_(x);
    case Activation::gelu_new:
      return at::gelu_(x, "tanh");
    case Activation::quick_gelu:
      return x.mul_(at::sigmoid(x * 1.702));
    case Activation::relu:
      return at::clamp_min_(x, 0);  // relu_ cannot run on tensors without data
    case Activation::mish:
      return at::mish_(x);
  }
  throw InternalError("activation {} has no function", static_cast<int>(activation));
}

at::Tensor activate(Activation activation, const at::Tensor& x) { return activate(activation, x.clone()); }

}  // namespace diffract::nn
