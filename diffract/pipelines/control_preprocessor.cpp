#include "diffract/pipelines/control_preprocessor.h"

#include <charconv>
#include <optional>

#include "diffract/core/error.h"

namespace diffract::pipelines {
namespace {

constexpr const char* kField = "control_preprocessor";

[[noreturn]] void fail(const std::string& text) {
  throw UsageError(
      "{} {}: expected none, canny, canny:LOW:HIGH with whole numbers from 0 to 2040, or inpaint", kField,
      text);
}

std::optional<int> threshold(std::string_view text) {
  constexpr int kMost = 2040;
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool is_one =
      error == std::errc() && end == text.data() + text.size() && value >= 0 && value <= kMost;
  return is_one ? std::optional(value) : std::nullopt;
}

}  // namespace

ControlPreprocessor ControlPreprocessor::parse(const std::string& text) {
  if (text == "none") return {};
  if (text == "canny") return {.kind = Kind::canny};
  if (text == "inpaint") return {.kind = Kind::inpaint};
  constexpr std::string_view kCanny = "canny:";
  if (!text.starts_with(kCanny)) fail(text);
  const std::string_view numbers = std::string_view(text).substr(kCanny.size());
  const size_t colon = numbers.find(':');
  if (colon == std::string_view::npos) fail(text);
  const auto low = threshold(numbers.substr(0, colon)), high = threshold(numbers.substr(colon + 1));
  if (!low || !high) fail(text);
  return {.kind = Kind::canny, .thresholds = {.low = *low, .high = *high}};
}

ControlPreprocessor control_preprocessor(const Request& request, size_t net, size_t nets) {
  const auto& texts = request.control_preprocessor;
  if (texts.empty()) return {};
  if (texts.size() != 1 && texts.size() != nets)
    throw UsageError("{}: {} given for {} ControlNets; give one for all, or one each", kField, texts.size(),
                     nets);
  const auto found = ControlPreprocessor::parse(texts.size() == 1 ? texts[0] : texts[net]);
  if (found.kind != ControlPreprocessor::Kind::inpaint) return found;
  if (request.mask_image.empty())
    throw UsageError("{} inpaint: leaves out what a mask makes anew; give one with --mask-image", kField);
  if (request.padding_mask_crop)
    throw UsageError("{} inpaint: does not go with padding_mask_crop; leave one of them out", kField);
  return found;
}

}  // namespace diffract::pipelines
