#pragma once
#include <set>
#include <string>

#include "diffract/launch/options.h"

namespace diffract::launch {

// Each reads the value of the option that `name` names, and throws UsageError saying what was expected.

int64_t parse_integer(const std::string& name, const std::string& text, int64_t low, int64_t high);
Seconds parse_seconds(const std::string& name, const std::string& text, double low, double high);
/// "3" for all local ranks, "0:1,1:2" for some.
Streams parse_streams(const std::string& name, const std::string& text);
std::set<int> parse_ranks(const std::string& name, const std::string& text);
/// "HOST", "HOST:PORT", "[::1]:PORT"; `port` keeps its value when the text has none.
void parse_endpoint(const std::string& name, const std::string& text, std::string& host, uint16_t& port);
/// "N" or "MIN:MAX".
void parse_node_range(const std::string& name, const std::string& text, LaunchOptions& options);
/// "join_timeout=60,is_host=1": keys are torchrun's.
void parse_rendezvous_settings(const std::string& name, const std::string& text, Rendezvous& rendezvous);

}  // namespace diffract::launch
