#include "diffract/launch/option_values.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "diffract/core/error.h"
#include "diffract/core/nearest.h"

namespace diffract::launch {
namespace {

constexpr int kMaxProcesses = 4096;

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  size_t begin = 0;
  for (size_t end; (end = text.find(separator, begin)) != std::string::npos; begin = end + 1)
    parts.push_back(text.substr(begin, end - begin));
  parts.push_back(text.substr(begin));
  return parts;
}

}  // namespace

int64_t parse_integer(const std::string& name, const std::string& text, int64_t low, int64_t high) {
  int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, failure] = std::from_chars(text.data(), end, value);
  if (failure != std::errc() || stop != end || value < low || value > high)
    throw UsageError("{} {}: expected a whole number from {} to {}", name, text.empty() ? "\"\"" : text, low,
                     high);
  return value;
}

Seconds parse_seconds(const std::string& name, const std::string& text, double low, double high) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, failure] = std::from_chars(text.data(), end, value);
  if (failure != std::errc() || stop != end || !(value >= low && value <= high))
    throw UsageError("{} {}: expected seconds from {} to {}", name, text.empty() ? "\"\"" : text, low, high);
  return Seconds(value);
}

Streams parse_streams(const std::string& name, const std::string& text) {
  Streams streams;
  if (text.find(':') == std::string::npos) {
    streams.all = static_cast<int>(parse_integer(name, text, 0, 3));
    return streams;
  }
  for (const std::string& part : split(text, ',')) {
    const auto pair = split(part, ':');
    if (pair.size() != 2) throw UsageError("{} {}: expected RANK:STREAMS, e.g. 0:1,1:2", name, text);
    const int rank = static_cast<int>(parse_integer(name, pair[0], 0, kMaxProcesses - 1));
    streams.by_local_rank[rank] = static_cast<int>(parse_integer(name, pair[1], 0, 3));
  }
  return streams;
}

std::set<int> parse_ranks(const std::string& name, const std::string& text) {
  std::set<int> ranks;
  for (const std::string& part : split(text, ','))
    ranks.insert(static_cast<int>(parse_integer(name, part, 0, kMaxProcesses - 1)));
  return ranks;
}

void parse_endpoint(const std::string& name, const std::string& text, std::string& host, uint16_t& port) {
  std::string port_text;
  const bool bracketed = text.starts_with('[');
  const size_t host_end = bracketed ? text.find(']') : text.find(':');
  const bool bare_ipv6 = !bracketed && std::count(text.begin(), text.end(), ':') > 1;
  if (bracketed && host_end != std::string::npos) {
    host = text.substr(1, host_end - 1);
    if (host_end + 1 < text.size() && text[host_end + 1] == ':')
      port_text = text.substr(host_end + 2);
    else if (host_end + 1 < text.size())
      host.clear();
  } else if (bracketed || bare_ipv6 || host_end == std::string::npos) {
    host = bracketed ? "" : text;
  } else {
    host = text.substr(0, host_end);
    port_text = text.substr(host_end + 1);
  }
  if (host.empty() || host.find_first_of(" \t\n/") != std::string::npos)
    throw UsageError("{} {}: expected HOST:PORT, with an IPv6 address in brackets", name, text);
  if (!port_text.empty()) port = static_cast<uint16_t>(parse_integer(name + " port", port_text, 0, 65535));
}

void parse_node_range(const std::string& name, const std::string& text, LaunchOptions& options) {
  const auto parts = split(text, ':');
  if (parts.size() > 2) throw UsageError("{} {}: expected N or MIN:MAX", name, text);
  options.min_nodes = static_cast<int>(parse_integer(name, parts.front(), 1, kMaxProcesses));
  options.max_nodes = static_cast<int>(parse_integer(name, parts.back(), 1, kMaxProcesses));
  if (options.min_nodes > options.max_nodes)
    throw UsageError("{} {}: the fewest nodes, {}, are more than the most, {}", name, text, options.min_nodes,
                     options.max_nodes);
}

void parse_rendezvous_settings(const std::string& name, const std::string& text, Rendezvous& rendezvous) {
  constexpr double kDay = 86400;
  double attempts = rendezvous.silence / rendezvous.beat_interval;
  for (const std::string& part : split(text, ',')) {
    if (part.empty()) continue;
    const size_t equals = part.find('=');
    const std::string key = part.substr(0, equals), shown = fmt::format("{} {}", name, key);
    if (equals == std::string::npos) throw UsageError("{} {}: expected KEY=VALUE", name, part);
    const std::string value = part.substr(equals + 1);
    if (key == "join_timeout" || key == "timeout")
      rendezvous.join_timeout = parse_seconds(shown, value, 0.1, kDay);
    else if (key == "last_call_timeout")
      rendezvous.last_call_timeout = parse_seconds(shown, value, 0, kDay);
    else if (key == "keep_alive_interval")
      rendezvous.beat_interval = parse_seconds(shown, value, 0.05, kDay);
    else if (key == "keep_alive_max_attempt")
      attempts = static_cast<double>(parse_integer(shown, value, 1, 1000));
    else if (key == "is_host" && (value == "1" || value == "true" || value == "True"))
      rendezvous.is_host = true;
    else if (key == "is_host" && (value == "0" || value == "false" || value == "False"))
      rendezvous.is_host = false;
    else if (key == "is_host")
      throw UsageError("{} {}: expected 0 or 1", shown, value);
    else if (key != "close_timeout" && key != "read_timeout" && key != "store_type") {  // nothing to set here
      const auto meant = nearest(key, {"join_timeout", "last_call_timeout", "keep_alive_interval",
                                       "keep_alive_max_attempt", "is_host", "timeout"});
      throw UsageError("{}: unknown key {}{}", name, key,
                       meant ? fmt::format("; did you mean {}?", *meant) : "");
    }
  }
  rendezvous.silence = rendezvous.beat_interval * attempts;
}

}  // namespace diffract::launch
