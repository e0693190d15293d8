# SPDX-License-Identifier: Apache-2.0
# The installed libtorches: for each a target accel_libtorch_VERSION, and in ACCEL_LIBTORCHES their
# versions, the newest first; ACCEL_LIBTORCH_INSTALLED is that of the libaccel_torch that is installed.
# Not by find_package(Torch), which finds one a project, and mixes the c10 of another installation
# into it.
#   ACCEL_TORCH_PREFIX  the only one to use: an unpacked libtorch, or site-packages/torch

# Can what is compiled here call what was compiled there? A library whose strings have the other ABI
# lacks the symbol.
function(accel_torch_links result include library)
  set(source ${PROJECT_BINARY_DIR}/CMakeFiles/accel_torch_links.cpp)
  file(WRITE ${source} "#include <c10/util/Exception.h>
int main(int argc, char **) { TORCH_CHECK(argc > 9, std::string(\"text\")); }\n")
  try_compile(links ${PROJECT_BINARY_DIR}/CMakeFiles/accel_torch_links ${source}
    CMAKE_FLAGS "-DINCLUDE_DIRECTORIES=${include}" LINK_LIBRARIES ${library}
    COMPILE_DEFINITIONS ${ARGN} CXX_STANDARD 17 OUTPUT_VARIABLE output)
  set(${result} ${links} PARENT_SCOPE)
  set(accel_torch_output "${output}" PARENT_SCOPE)
endfunction()

# Which _GLIBCXX_USE_CXX11_ABI the library wants; "none" if neither works.
function(accel_torch_abi result version include library)
  if(NOT DEFINED ACCEL_TORCH_ABI_${version})
    set(abi none)
    foreach(candidate 1 0)
      accel_torch_links(links ${include} ${library} -D_GLIBCXX_USE_CXX11_ABI=${candidate})
      if(links)
        set(abi ${candidate})
        break()
      endif()
    endforeach()
    set(ACCEL_TORCH_ABI_${version} ${abi} CACHE INTERNAL "")
  endif()
  set(${result} ${ACCEL_TORCH_ABI_${version}} PARENT_SCOPE)
endfunction()

function(accel_add_libtorch include library_dir)
  set(version_file ${include}/torch/headeronly/version.h)
  if(NOT EXISTS ${version_file}) # where it was at first
    set(version_file ${include}/torch/csrc/api/include/torch/version.h)
  endif()
  if(NOT EXISTS ${version_file} OR NOT EXISTS ${library_dir}/libtorch_cpu.so)
    return()
  endif()
  file(STRINGS ${version_file} major REGEX "define TORCH_VERSION_MAJOR ")
  file(STRINGS ${version_file} minor REGEX "define TORCH_VERSION_MINOR ")
  string(REGEX REPLACE ".* " "" major "${major}")
  string(REGEX REPLACE ".* " "" minor "${minor}")
  set(version ${major}.${minor})
  if(TARGET accel_libtorch_${version})
    return()
  endif()
  if(version VERSION_LESS 1.13)
    message(STATUS "libtorch ${version} in ${library_dir}: too old; expected 1.13 or newer")
    return()
  endif()
  accel_torch_abi(abi ${version} ${include} ${library_dir}/libc10.so)
  if(abi STREQUAL none)
    message(STATUS "libtorch ${version} in ${library_dir}: does not link with ${CMAKE_CXX_COMPILER}"
      " ${CMAKE_CXX_FLAGS}: left out. Is its _GLIBCXX_USE_CXX11_ABI another?")
    return()
  endif()
  add_library(accel_libtorch_${version} INTERFACE)
  # libtorch_cpu by name: nothing is taken from libtorch itself, so that linkers drop it
  target_link_libraries(accel_libtorch_${version} INTERFACE
    ${library_dir}/libtorch_cpu.so ${library_dir}/libc10.so Threads::Threads)
  target_include_directories(accel_libtorch_${version} SYSTEM INTERFACE
    ${include}/torch/csrc/api/include)
  if(NOT include STREQUAL /usr/include)
    target_include_directories(accel_libtorch_${version} SYSTEM INTERFACE ${include})
  endif()
  # gcc suspects it of code of libtorch that it has inlined
  target_compile_options(accel_libtorch_${version} INTERFACE
    $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-maybe-uninitialized>)
  target_compile_definitions(accel_libtorch_${version} INTERFACE _GLIBCXX_USE_CXX11_ABI=${abi})
  message(STATUS "libtorch ${version} in ${library_dir}")
  set(ACCEL_LIBTORCHES ${ACCEL_LIBTORCHES} ${version} PARENT_SCOPE)
endfunction()

set(ACCEL_LIBTORCHES "")
set(ACCEL_LIBTORCH_INSTALLED "")
if(ACCEL_TORCH_PREFIX)
  foreach(library_dir lib lib/${CMAKE_CXX_LIBRARY_ARCHITECTURE})
    accel_add_libtorch(${ACCEL_TORCH_PREFIX}/include ${ACCEL_TORCH_PREFIX}/${library_dir})
  endforeach()
  if(NOT ACCEL_LIBTORCHES)
    message(FATAL_ERROR "ACCEL_TORCH_PREFIX: no libtorch that can be used in ${ACCEL_TORCH_PREFIX}; "
      "expected include/torch/ and lib/libtorch_cpu.so in it")
  endif()
else()
  # The system's is what an installed library may rely on: the environment of the tests can go.
  accel_add_libtorch(/usr/include /usr/lib/${CMAKE_CXX_LIBRARY_ARCHITECTURE})
  file(GLOB wheels ${PROJECT_SOURCE_DIR}/build/oracle/lib/python3*/site-packages/torch)
  foreach(wheel ${wheels})
    accel_add_libtorch(${wheel}/include ${wheel}/lib)
  endforeach()
endif()
if(ACCEL_LIBTORCHES)
  list(GET ACCEL_LIBTORCHES 0 ACCEL_LIBTORCH_INSTALLED)
endif()
list(SORT ACCEL_LIBTORCHES COMPARE NATURAL ORDER DESCENDING)
