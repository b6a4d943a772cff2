// Linked into a program (not a library), this bounds the spinning of libgomp's threads: bounded_spin.h.
//
// libgomp reads its environment in a constructor of its own, before those of the program; what is set in
// .preinit_array with setenv is lost, because libc takes up the kernel's array of variables only after that.
// That array itself is what they all see. It has no room for another entry, so one that no constructor asks
// for is replaced until the program's first constructor, which puts it back and calls setenv.
#include "diffract/core/bounded_spin.h"

#include <unistd.h>

#include <cstdlib>

namespace diffract {
namespace {

constinit char spin_entry[64] = {};
constinit char* replaced = nullptr;  // the entry that spin_entry stands for until then
constinit char** place = nullptr;    // its place in the kernel's array

// Nothing of libc, nor of a sanitizer, is ready where the first of these functions runs.
#define DIFFRACT_BEFORE_ANYTHING __attribute__((no_sanitize("address", "undefined", "thread")))

DIFFRACT_BEFORE_ANYTHING bool is_named(const char* entry, const char* name) {
  while (*name && *entry == *name) ++entry, ++name;
  return *name == '\0' && *entry == '=';
}

DIFFRACT_BEFORE_ANYTHING void replace_an_entry(int, char**, char** variables) {
  constexpr const char* kReplaceable[] = {"_",        "OLDPWD", "SHLVL", "PWD",  "TERM", "LOGNAME",
                                          "HOSTNAME", "USER",   "SHELL", "LANG", "PATH", "HOME"};
  for (char** at = variables; *at; ++at)
    if (is_named(*at, kSpinVariable) || is_named(*at, kWaitPolicyVariable)) return;
  for (const char* name : kReplaceable)
    for (char** at = variables; *at && !place; ++at)
      if (is_named(*at, name)) place = at;
  if (!place) return;
  char* end = spin_entry;
  for (const char* c = kSpinVariable; *c; ++c) *end++ = *c;
  *end++ = '=';
  for (const char* c = kSpinTurns; *c; ++c) *end++ = *c;
  replaced = *place;
  *place = spin_entry;
}

__attribute__((section(".preinit_array"), used,
               retain)) void (*const before_libraries)(int, char**, char**) = replace_an_entry;

// Before the program's other constructors.
__attribute__((constructor(101))) void put_it_back() {
  if (!place) return;
  *place = replaced;
  // libc copies the array when it first adds a variable, which a library's constructor may have done before.
  for (char** at = environ; at && *at; ++at)
    if (*at == spin_entry) *at = replaced;
  ::setenv(kSpinVariable, kSpinTurns, 0);  // for `doctor`, and for programs that this one starts
}

}  // namespace
}  // namespace diffract
