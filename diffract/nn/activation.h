#pragma once
#include <ATen/ATen.h>

#include <string>
#include <vector>

namespace diffract::nn {

/// The activations that configs name. gelu is the exact one; gelu_new its tanh form; quick_gelu is x
/// sigmoid(1.702 x).
enum class Activation { silu, gelu, gelu_new, quick_gelu, relu, mish };

/// The names that configs use for them ("swish" is silu too), for ConfigReader::choice.
const std::vector<std::string>& activation_names();
/// One of activation_names(). Throws UsageError for another.
Activation parse_activation(const std::string& name);
at::Tensor activate(Activation activation, const at::Tensor& x);
/// The same for a tensor that nobody else needs, whose memory the result may take.
at::Tensor activate(Activation activation, at::Tensor&& x);

}  // namespace diffract::nn
