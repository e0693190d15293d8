# SPDX-License-Identifier: Apache-2.0
# cmake -DFOLDER= -DPARTS=a.html;b.css -DOUTPUT=parts.c -P embed.cmake
# Text files as C: `const char a_html[]`, ended by a zero.
set(code "/* Generated. */\n")
foreach(part ${PARTS})
  file(READ ${FOLDER}/${part} bytes HEX)
  string(REGEX REPLACE "(................................)" "\\1\n" bytes "${bytes}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," bytes "${bytes}")
  string(REGEX REPLACE "[^a-z0-9]" "_" name ${part})
  string(APPEND code "extern const char ${name}[];\nconst char ${name}[] = {${bytes}0};\n")
endforeach()
file(WRITE ${OUTPUT} "${code}")
