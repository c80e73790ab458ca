FROM $BASE
RUN --mount=type=cache,target=/x true
RUN cat <<EOF
COPY --from=$OTHER /a /a
