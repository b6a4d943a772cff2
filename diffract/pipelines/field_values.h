#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "diffract/core/json.h"
#include "diffract/pipelines/request.h"

namespace diffract::pipelines {

// What a request's field makes of a JSON value, or of the text that the command line has in its place. Each
// throws UsageError or CheckpointError naming `where` and `key` for a value of another type. Ranges are
// check_ranges' affair, which is asked for every way in.

int64_t integer_value(const Json& value, const std::string& where, const char* key);
double number_value(const Json& value, const std::string& where, const char* key);
uint64_t seed_value(const Json& value, const std::string& where, const char* key);
bool flag_value(const Json& value, const std::string& where, const char* key);
std::string text_value(const Json& value, const std::string& where, const char* key);
Json object_value(const Json& value, const std::string& where, const char* key);
/// A text, or a list of them.
std::vector<std::string> texts_value(const Json& value, const std::string& where, const char* key);
/// [1024, 768], or "1024,768".
HeightWidth pair_value(const Json& value, const std::string& where, const char* key);
/// [999, 500], or "999,500".
std::vector<double> numbers_value(const Json& value, const std::string& where, const char* key);
/// One number, or a list of them; each may be a text.
std::vector<double> numbers_of_nets_value(const Json& value, const std::string& where, const char* key);
/// A file's name, or a list of them: read now, so that what is wrong with one shows at once.
std::vector<InputPicture> pictures_value(const Json& value, const std::string& where, const char* key);

/// Throws UsageError for a zero byte: the command line cannot hold one, and a PNG's text would end there.
void refuse_zero_byte(std::string_view text, const std::string& where);

}  // namespace diffract::pipelines
