#!/bin/sh
# Put the secrets of infra/kubernetes/secrets/*.env into the cluster, new or changed. Makes what is missing first.
set -eu
cd "$(dirname "$0")"
../new-secrets.sh >/dev/null

apply() { # NAMESPACE SECRET
    kubectl create secret generic "$2" --namespace "$1" --from-env-file="secrets/$2.env" --dry-run=client --output=yaml |
        kubectl apply --filename=-
}

# One that is there is left alone: `apply` would take away the labels that others applied, Pod Security's among them.
for namespace in ganflow kubeflow; do
    [ -n "$(kubectl get namespace "$namespace" --ignore-not-found --output=name)" ] ||
        kubectl create namespace "$namespace" --save-config
done
apply ganflow mlflow-database
apply ganflow mlflow-server
apply ganflow ganflow-s3
apply kubeflow ganflow-s3
apply kubeflow kfp-mlflow-credentials
