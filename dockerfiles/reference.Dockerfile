# The reference homeserver under Complement's image contract (see README.md beside this file).
# It needs no registry: the static binary is built on the host and copied in, by build-reference.sh.
FROM scratch
COPY countersign /countersign
# Both commands below read these, and SERVER_NAME, which is given when the container starts.
ENV COUNTERSIGN_CLIENT_ADDR=:8008 \
    COUNTERSIGN_FEDERATION_ADDR=:8448 \
    COUNTERSIGN_DATA_DIR=/data \
    COUNTERSIGN_CA_CERT=/complement/ca/ca.crt \
    COUNTERSIGN_CA_KEY=/complement/ca/ca.key \
    COUNTERSIGN_APPSERVICE_DIR=/complement/appservice \
    COUNTERSIGN_REGISTRATION_SHARED_SECRET=complement
EXPOSE 8008 8448
# The first check comes after one interval, so a short one makes a quick start.
HEALTHCHECK --interval=1s --timeout=5s --retries=10 CMD ["/countersign", "healthcheck"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/countersign", "serve"]
