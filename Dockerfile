# syntax=docker/dockerfile:1

FROM node:26-slim AS build
WORKDIR /app
# First what changes rarely, so that the layer with the dependencies is reused.
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY buf.yaml buf.gen.yaml rolldown.config.ts tsconfig.json tsconfig.build.json tsconfig.cjs.json tsconfig.testing.json ./
COPY bin bin
COPY proto proto
COPY src src
# What `layercache/testing` is compiled from.
COPY tools/build-testing.mjs tools/
COPY test/contract test/contract
COPY test/parts/blob-rest.ts test/parts/
RUN npm run build

FROM node:26-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev

FROM node:26-slim
LABEL org.opencontainers.image.title="layercache" \
      org.opencontainers.image.description="The cached layer service of a container registry, over gRPC" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV NODE_ENV=production \
    LAYERCACHE_LISTEN=0.0.0.0:50051 \
    LAYERCACHE_ADMIN=0.0.0.0:9464
WORKDIR /app
COPY package.json LICENSE README.md CHANGELOG.md ./
COPY bin bin
COPY proto proto
COPY --from=dependencies /app/node_modules node_modules
COPY --from=build /app/dist dist
USER node
EXPOSE 50051 9464
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["node", "bin/layercache.cjs", "health"]
# Not through npm: the signal that drains must reach the server itself.
ENTRYPOINT ["node", "bin/layercache.cjs"]
