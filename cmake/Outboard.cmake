# Helpers that every room's CMakeLists.txt uses.

# Flags for all of Outboard's own code. Never -march=native: kernels for newer instruction sets are
# separate files with their own flags, chosen at run time.
add_library(outboard_flags INTERFACE)
target_compile_options(outboard_flags INTERFACE -Wall -Wextra -Wshadow -Wpedantic -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # Wrong alarms inside std::string concatenation in GCC 12 (GCC bug 105651).
  target_compile_options(outboard_flags INTERFACE -Wno-restrict)
endif()
target_include_directories(outboard_flags INTERFACE ${PROJECT_SOURCE_DIR}/src)
if(OUTBOARD_SANITIZE)
  add_compile_options(-fsanitize=${OUTBOARD_SANITIZE} -fno-sanitize-recover=all
                      -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${OUTBOARD_SANITIZE})
endif()
if(OUTBOARD_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# Headers that nearly every file reads, read once: with clang half of the time of a build otherwise
# (GCC 12 gains little, and takes what it inlines from there for mistakes). Files state all that they
# include all the same; OUTBOARD_SHARED_HEADERS=OFF finds those that don't. Files with flags of their
# own for the processor must not use them (SKIP_PRECOMPILE_HEADERS).
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  set(shared_headers ON)
else()
  set(shared_headers OFF)
endif()
option(OUTBOARD_SHARED_HEADERS "Precompile common headers" ${shared_headers})
set(common_headers <algorithm> <array> <cstdint> <cstring> <filesystem> <functional> <map> <memory> <optional>
    <random> <span> <string> <string_view> <thread> <unordered_map> <utility> <vector> <fmt/format.h>
    <fmt/ranges.h> <nlohmann/json.hpp>)
# outboard_headers(NAME HEADERS <a> ... DEPS lib ...): the target that holds them.
function(outboard_headers name)
  if(NOT OUTBOARD_SHARED_HEADERS)
    return()
  endif()
  cmake_parse_arguments(ARG "" "" "HEADERS;DEPS" ${ARGN})
  file(WRITE ${CMAKE_BINARY_DIR}/${name}.cpp "")
  add_library(${name} OBJECT ${CMAKE_BINARY_DIR}/${name}.cpp)
  target_link_libraries(${name} PRIVATE outboard_flags ${ARG_DEPS})
  target_precompile_headers(${name} PRIVATE ${ARG_HEADERS})
endfunction()
function(outboard_use_headers target name)
  if(TARGET ${name})
    target_precompile_headers(${target} REUSE_FROM ${name})
  endif()
endfunction()

# outboard_library(NAME SOURCES a.cpp ... DEPS lib ...): static library outboard_NAME.
function(outboard_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_library(outboard_${name} STATIC ${ARG_SOURCES})
  target_link_libraries(outboard_${name} PUBLIC ${ARG_DEPS} PRIVATE $<BUILD_INTERFACE:outboard_flags>)
  target_include_directories(outboard_${name} PUBLIC ${PROJECT_SOURCE_DIR}/src)
  outboard_use_headers(outboard_${name} outboard_library_headers)
endfunction()

# outboard_test(NAME [COMPUTES] SOURCES a_test.cpp ... DEPS lib ...): GoogleTest program NAME_test;
# each of its tests is one ctest entry, with the label of `./outboard test --fast`. COMPUTES: its references are loops that want optimizing; the
# others compile faster with less, and with sanitizers in half of the time without any.
if(OUTBOARD_SANITIZE)
  set(plain_test_options -O0)
else()
  set(plain_test_options $<$<CONFIG:Release>:-O1>)
endif()
function(outboard_test name)
  if(NOT OUTBOARD_TESTS)
    return()
  endif()
  cmake_parse_arguments(ARG "COMPUTES" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name}_test ${ARG_SOURCES})
  set(headers outboard_computing_test_headers)
  if(NOT ARG_COMPUTES)
    target_compile_options(${name}_test PRIVATE ${plain_test_options})
    set(headers outboard_test_headers)
  endif()
  target_link_libraries(${name}_test PRIVATE ${ARG_DEPS} outboard_flags GTest::gtest GTest::gmock
                                             GTest::gtest_main)
  outboard_use_headers(${name}_test ${headers})
  gtest_discover_tests(${name}_test DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT 300 LABELS fast)
endfunction()

# outboard_fuzzer(NAME SOURCES x_fuzz.cpp DEPS lib ...): libFuzzer program NAME_fuzz.
function(outboard_fuzzer name)
  if(NOT OUTBOARD_FUZZ)
    return()
  endif()
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name}_fuzz ${ARG_SOURCES})
  target_link_libraries(${name}_fuzz PRIVATE ${ARG_DEPS} outboard_flags)
  target_link_options(${name}_fuzz PRIVATE -fsanitize=fuzzer)
endfunction()
