#pragma once
#include <string>
#include <vector>

#include "diffract/core/json.h"

namespace diffract::test {

/// A key of a config that gets a value which cannot be.
struct ConfigDamage {
  const char *file, *key;
  Json value;
};

/// A family's small checkpoint, and what is special about damaging it. A new family gets a row in damages.cpp
/// and the whole suite with it.
struct DamagedFamily {
  const char *name, *checkpoint, *variant;
  std::vector<ConfigDamage> configs;
};
const std::vector<DamagedFamily>& damaged_families();

}  // namespace diffract::test
