#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace diffract {

/// The bytes of base64 text (RFC 4648, with or without padding at its end); none when it is not base64.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace diffract
