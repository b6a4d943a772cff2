#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "diffract/core/json.h"
#include "diffract/loading/family_facts.h"
#include "diffract/loading/load_options.h"
#include "diffract/weights/tensor_source.h"

namespace diffract::loading {

/// A textual inversion for one text encoder. Source: Gal et al. 2023; diffusers loaders/textual_inversion.py.
struct Inversion {
  std::string token;   // of the prompts
  at::Tensor vectors;  // [count, width]; several stand for several tokens in a row
  std::string source;  // names the file in messages
};

/// What the options say for `text_encoder`, a component of the family. Throws CheckpointError for files that
/// are damaged or none, UsageError where a token must be named.
std::vector<Inversion> read_inversions(const std::vector<TextualInversionOption>& options,
                                       const FamilyFacts& facts, std::string_view text_encoder);

/// Rows that a text encoder's table of tokens gets.
class ComponentTokens {
 public:
  /// The inversions' vectors in their order, from the row `first` on.
  ComponentTokens(std::vector<Inversion> inversions, int64_t first);

  /// The component's weights with the rows; throws CheckpointError where their width is another model's.
  /// `config` is the one of the weights, not grown.
  static weights::TensorSourcePtr over(weights::TensorSourcePtr source,
                                       const std::shared_ptr<const ComponentTokens>& tokens,
                                       const ConfigReader& config);
  /// Its config, for as many tokens.
  ConfigReader grown(const ConfigReader& config) const;

 private:
  class Source;
  std::vector<Inversion> inversions_;
  int64_t first_, end_;
};

}  // namespace diffract::loading
