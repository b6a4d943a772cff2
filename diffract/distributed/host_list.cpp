#include "diffract/distributed/host_list.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>

#include "diffract/core/error.h"

namespace diffract::distributed {
namespace {

constexpr size_t kMaxHosts = 65536;

[[noreturn]] void fail(std::string_view list, std::string_view place, const char* expected) {
  throw UsageError("Slurm list \"{}\": found \"{}\"; expected {}, as in n[1-3,7]", list, place, expected);
}

std::optional<uint64_t> number(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || text.size() > 9 || error != std::errc() || end != text.data() + text.size())
    return std::nullopt;
  return value;
}

// The parts between commas that stand outside brackets.
std::vector<std::string_view> split_at_commas(std::string_view list) {
  std::vector<std::string_view> parts;
  size_t begin = 0;
  bool inside = false;
  for (size_t i = 0; i <= list.size(); ++i) {
    if (i < list.size() && list[i] == '[') inside = true;
    if (i < list.size() && list[i] == ']') inside = false;
    if (i < list.size() && (list[i] != ',' || inside)) continue;
    parts.push_back(list.substr(begin, i - begin));
    begin = i + 1;
  }
  return parts;
}

// "1-3,7" to 1 2 3 7; the width of a range's first number is kept by zero padding.
std::vector<std::string> expand_ranges(std::string_view ranges, std::string_view list) {
  std::vector<std::string> numbers;
  for (const std::string_view range : split_at_commas(ranges)) {
    const size_t dash = range.find('-');
    const auto first = number(range.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : number(range.substr(dash + 1));
    if (!first || !last || *last < *first) fail(list, range, "a number or a range of numbers");
    if (*last - *first >= kMaxHosts) fail(list, range, "at most 65536 hosts");
    const size_t width = range.substr(0, dash).size();
    for (uint64_t i = *first; i <= *last; ++i) {
      const std::string digits = std::to_string(i);
      numbers.push_back(std::string(width - std::min(width, digits.size()), '0') + digits);
    }
  }
  return numbers;
}

std::vector<std::string> expand_name(std::string_view name, std::string_view list) {
  std::vector<std::string> hosts = {""};
  while (!name.empty()) {
    const size_t open = name.find('[');
    const std::string_view plain = name.substr(0, open);
    if (plain.find(']') != std::string_view::npos) fail(list, name, "[ before ]");
    for (auto& host : hosts) host += plain;
    if (open == std::string_view::npos) break;
    const size_t close = name.find(']', open);
    if (close == std::string_view::npos) fail(list, name.substr(open), "] at its end");
    const auto numbers = expand_ranges(name.substr(open + 1, close - open - 1), list);
    if (hosts.size() * numbers.size() > kMaxHosts) fail(list, name, "at most 65536 hosts");
    std::vector<std::string> longer;
    longer.reserve(hosts.size() * numbers.size());
    for (const auto& host : hosts)
      for (const auto& digits : numbers) longer.push_back(host + digits);
    hosts = std::move(longer);
    name = name.substr(close + 1);
  }
  return hosts;
}

}  // namespace

std::vector<std::string> expand_host_list(std::string_view list) {
  std::vector<std::string> hosts;
  for (const std::string_view name : split_at_commas(list)) {
    if (name.empty()) fail(list, name, "a host name");
    for (auto& host : expand_name(name, list)) hosts.push_back(std::move(host));
    if (hosts.size() > kMaxHosts) fail(list, name, "at most 65536 hosts");
  }
  return hosts;
}

std::vector<int> expand_task_counts(std::string_view list) {
  std::vector<int> counts;
  for (const std::string_view part : split_at_commas(list)) {
    const size_t open = part.find("(x");
    const auto tasks = number(part.substr(0, open));
    auto times = std::optional<uint64_t>(1);
    if (open != std::string_view::npos) {
      if (!part.ends_with(')')) fail(list, part, "tasks(xnodes)");
      times = number(part.substr(open + 2, part.size() - open - 3));
    }
    if (!tasks || !times || *tasks > kMaxHosts || counts.size() + *times > kMaxHosts)
      fail(list, part, "tasks(xnodes)");
    counts.insert(counts.end(), *times, static_cast<int>(*tasks));
  }
  return counts;
}

}  // namespace diffract::distributed
