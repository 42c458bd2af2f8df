# The library for C and C++, and what finds it: `find_package(pytransformer)`, pkg-config.
add_library(pytransformer)
add_library(pytransformer::pytransformer ALIAS pytransformer)
target_sources(pytransformer PRIVATE
  $<TARGET_OBJECTS:pytransformer_engine> $<TARGET_OBJECTS:pytransformer_kernels>)
get_target_property(isas pytransformer_kernels INTERFACE_SOURCES)
target_sources(pytransformer PRIVATE ${isas})
target_include_directories(pytransformer INTERFACE
  "$<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/csrc/include>")

# Runtime libraries by name: targets that find_package has made here are unknown where a static
# library is linked, and a program in C finds no OpenMP of C++, nor does it link C++'s library.
set(runtimes ${OpenMP_CXX_LIB_NAMES} ${CMAKE_THREAD_LIBS_INIT})
get_target_property(type pytransformer TYPE)
if(type STREQUAL "STATIC_LIBRARY")
  set(cxx ${CMAKE_CXX_IMPLICIT_LINK_LIBRARIES})
  list(FILTER cxx INCLUDE REGEX "^(stdc\\+\\+|c\\+\\+|c\\+\\+abi|m)$")
  list(APPEND runtimes ${cxx})
endif()
list(REMOVE_DUPLICATES runtimes)
target_link_libraries(pytransformer PRIVATE ${runtimes})
if(PYTRANSFORMER_SENTENCEPIECE)
  target_link_libraries(pytransformer PRIVATE PkgConfig::pytransformer_sentencepiece)
endif()
if(PYTRANSFORMER_SANITIZE)
  target_link_options(pytransformer PUBLIC -fsanitize=${PYTRANSFORMER_SANITIZE})
endif()

if(type STREQUAL "SHARED_LIBRARY")
  set(map "${CMAKE_CURRENT_SOURCE_DIR}/csrc/cmake/pytransformer.map")
  target_link_options(pytransformer PRIVATE "LINKER:--version-script=${map}" LINKER:--as-needed
    LINKER:-z,defs LINKER:-z,relro LINKER:-z,now LINKER:-z,noexecstack -O3 ${exact})
  # The soname changes where programs built for an older library would break, and then alone: it
  # does not follow the version of the package. What only comes along keeps it.
  set_target_properties(pytransformer PROPERTIES
    VERSION 1.${PROJECT_VERSION} SOVERSION 1 LINK_DEPENDS "${map}")
endif()

if(NOT PYTRANSFORMER_INSTALL)
  return()
endif()
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)
set(package "${CMAKE_INSTALL_LIBDIR}/cmake/pytransformer")
install(TARGETS pytransformer EXPORT pytransformerTargets
  INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(DIRECTORY csrc/include/ TYPE INCLUDE)
install(EXPORT pytransformerTargets NAMESPACE pytransformer:: DESTINATION "${package}")

# Whoever links a static library links what that needs; there is no other use of it, so pkg-config
# names it without being asked for --static.
set(PYTRANSFORMER_NEEDS_SENTENCEPIECE OFF)
set(PYTRANSFORMER_PC_REQUIRES "")
set(PYTRANSFORMER_PC_LIBS "")
if(type STREQUAL "STATIC_LIBRARY")
  list(TRANSFORM runtimes PREPEND "-l" REGEX "^[^-]")
  list(JOIN runtimes " " PYTRANSFORMER_PC_LIBS)
  if(PYTRANSFORMER_SENTENCEPIECE)
    set(PYTRANSFORMER_NEEDS_SENTENCEPIECE ON)
    set(PYTRANSFORMER_PC_REQUIRES sentencepiece)
  endif()
endif()
configure_package_config_file(csrc/cmake/pytransformerConfig.cmake.in pytransformerConfig.cmake
  INSTALL_DESTINATION "${package}" NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(pytransformerConfigVersion.cmake COMPATIBILITY SameMajorVersion)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/pytransformerConfig.cmake"
  "${CMAKE_CURRENT_BINARY_DIR}/pytransformerConfigVersion.cmake" DESTINATION "${package}")

# Folders seen from the one where pkg-config's file lies, so that the tree may be moved.
set(here "${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig")
file(RELATIVE_PATH PYTRANSFORMER_PC_LIBDIR "${here}" "${CMAKE_INSTALL_FULL_LIBDIR}")
file(RELATIVE_PATH PYTRANSFORMER_PC_INCLUDEDIR "${here}" "${CMAKE_INSTALL_FULL_INCLUDEDIR}")
configure_file(csrc/cmake/pytransformer.pc.in pytransformer.pc @ONLY)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/pytransformer.pc"
  DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
