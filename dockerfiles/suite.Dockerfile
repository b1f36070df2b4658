# The suite as an image (see README.md beside this file): the program and its tests, built already. It
# needs no registry: build-suite.sh builds them on the host, and they are copied in.
FROM scratch
COPY bundle /
# What programs expect of a system, and the folder in which a run leaves its report, to be mounted.
WORKDIR /tmp
WORKDIR /report
STOPSIGNAL SIGINT
ENTRYPOINT ["/countersign"]
CMD ["run"]
